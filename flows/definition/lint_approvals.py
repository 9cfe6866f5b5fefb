"""Lint of what people decide: nothing irreversible without them, and nothing they cannot see beforehand."""

from __future__ import annotations

from collections.abc import Iterator

from flows.definition import expr
from flows.definition.graph import ancestors
from flows.definition.lint_graph import did_you_mean, step_ids
from flows.definition.plan import StepPlan
from flows.definition.reader import Document, StepDoc
from flows.definition.yaml_source import Path

Above = dict[str, frozenset[str]]


def check(document: Document, steps: tuple[StepPlan, ...]) -> None:
    """Needs an acyclic graph with unique ids."""
    above = ancestors(document.needs())
    by_id = {d.id: d for d in document.steps}
    names = set(step_ids(document))
    for doc, step in zip(document.steps, steps, strict=True):
        if doc.family == "approval":
            _check_approval(document, doc, above, names)
        _check_irreversible(document, doc, step, above)
        _check_fallback(document, doc, step)
        for approval in step.protected_by:
            if approval in above[step.id]:
                _check_computable(document, doc, by_id[approval], above)


def _check_approval(document: Document, doc: StepDoc, above: Above, names: set[str]) -> None:
    if doc.model.for_each is not None:
        said = "An approval in a fan-out is part of the language but not available in this version yet."
        document.report("not-available", (*doc.path, "for_each"), said, "Ask once, for all items.", key=True)
    for index, name in enumerate(doc.config.get("protects") or ()):
        path = (*doc.path, "approval", "protects", index)
        if name not in names:
            document.report("unknown-step", path, f"There is no step `{name}`.", did_you_mean(name, names))
        elif name in above and doc.id not in above[name]:
            said = f"`{doc.id}` protects `{name}`, but `{name}` does not wait for it."
            document.report("protects-not-downstream", path, said, f"Add `{doc.id}` to the `needs` of `{name}`.")


def _check_irreversible(document: Document, doc: StepDoc, step: StepPlan, above: Above) -> None:
    if step.irreversible and not any(a in above[step.id] for a in step.protected_by):
        said = f"`{step.id}` cannot be undone, and no approval before it protects it."
        hint = f"Put an approval before it with `protects: [{step.id}]`."
        document.report("irreversible-unprotected", (*doc.path, "irreversible"), said, hint)


def _check_fallback(document: Document, doc: StepDoc, step: StepPlan) -> None:
    fallback = step.fallback
    if fallback is None or fallback.family in (None, "function"):
        return
    if step.irreversible or step.protected_by:
        said = f"The fallback of `{step.id}` would act, but reviewers approve only the step itself."
        hint = "Use `fallback: {value: …}`, or a step of its own with `when: failure`."
        document.report("fallback-unprotected", (*doc.path, "fallback"), said, hint, key=True)


def _check_computable(document: Document, doc: StepDoc, approval: StepDoc, above: Above) -> None:
    for path, reference in _action_references(doc):
        if reference.path[0] != "steps" or len(reference.path) < 3 or reference.path[2] == "url":
            continue
        name = reference.path[1]
        if name == approval.id and reference.path[2:4] == ("output", "form"):
            continue
        if name in above[approval.id] or not isinstance(name, str) or name not in above:
            continue  # known when the request opens, or reported elsewhere
        said = (
            f"What `{doc.id}` will do depends on `steps.{name}`, "
            f"which is not known when `{approval.id}` asks for approval."
        )
        hint = f"Read inputs, what comes before `{approval.id}`, or its form: steps.{approval.id}.output.form."
        document.report("protected-not-computable", path, said, hint)


def _action_references(doc: StepDoc) -> Iterator[tuple[Path, expr.Reference]]:
    """What the action of a step reads: its config and its list of items, not its `if`."""
    trees: list[tuple[Path, object]] = [((*doc.path, doc.family), doc.config)]
    if doc.model.for_each is not None:
        trees.append(((*doc.path, "for_each", "items"), doc.model.for_each.items))
    for base, tree in trees:
        for path, text in expr.expressions_in(tree, base):
            try:
                parts = [p for p in expr.parse_template(text) if p.expression]
                yield from ((path, r) for p in parts for r in expr.references(p.text))
            except (expr.ExprError, expr.TemplateError):
                continue  # reported by lint_expressions
