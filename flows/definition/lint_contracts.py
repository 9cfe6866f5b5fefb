"""Lint of contracts, joins, routes and fallbacks: what can never hold, and keys that would do nothing."""

from __future__ import annotations

from typing import Final

from flows.definition import routing
from flows.definition.graph import ancestors
from flows.definition.lint_graph import did_you_mean, step_ids
from flows.definition.plan import StepPlan
from flows.definition.reader import Document, StepDoc
from flows.steps.base import ERROR_CLASSES

#: what nothing may stand in for: people said no, or must say what happened
NO_FALLBACK: Final = ("rejected", "unknown_outcome")
#: keys that a kind of step has no use for
_USELESS: Final = {
    "route": (
        "for_each", "timeout", "retry", "irreversible", "fallback", "output", "requires", "ensures", "effect",
        "already_done",
    ),
    "approval": ("output", "ensures", "effect", "already_done"),
    "sleep": ("output", "ensures", "effect", "already_done"),
    "wait": ("effect", "already_done"),
}  # fmt: skip
_READS: Final = ("GET", "HEAD", "OPTIONS")


def check(document: Document, steps: tuple[StepPlan, ...]) -> None:
    """Needs an acyclic graph with unique ids."""
    above = ancestors(document.needs())
    names = set(step_ids(document))
    for doc, step in zip(document.steps, steps, strict=True):
        _check_useless(document, doc)
        _check_join(document, doc, step)
        _check_fallback(document, doc)
        _check_effect(document, doc, step)
        if doc.family == routing.FAMILY:
            _check_route(document, doc, above, names)


def _check_useless(document: Document, doc: StepDoc) -> None:
    for key in _USELESS.get(doc.family, ()):
        if key in doc.model.model_fields_set:
            said = f"A {doc.family} step has no use for `{key}`."
            document.report("key-without-use", (*doc.path, key), said, f"Remove `{key}`.", key=True)


def _check_join(document: Document, doc: StepDoc, step: StepPlan) -> None:
    if "join" not in doc.model.model_fields_set or doc.model.join == "all":
        return
    path = (*doc.path, "join")
    needs = len(step.needs)
    if isinstance(doc.model.join, int) and doc.model.join > needs:
        said = f"`{step.id}` joins {doc.model.join} of {needs} steps."
        document.report("join-count", path, said, "Name more steps in `needs`, or join fewer.")
    elif needs < 2:
        said = f"`{step.id}` has {needs} step{'' if needs == 1 else 's'} to choose from."
        document.report("join-count", path, said, "Name at least two steps in `needs`.")
    if doc.model.when != "success":
        said = f"`{step.id}` waits for steps that succeed, so `when` has nothing to say."
        document.report("key-without-use", (*doc.path, "when"), said, "Remove `when`, or the join.", key=True)
    if step.protected_by and step.join is not None:
        said = f"`{step.id}` would start before all it needs have ended, the approval that protects it perhaps."
        document.report("join-protected", path, said, "Join in a step before it, and let it need that one.")


def _check_fallback(document: Document, doc: StepDoc) -> None:
    fallback = doc.model.fallback or {}
    path = (*doc.path, "fallback", "on")
    classes = fallback.get("on")
    if "on" in fallback and (not isinstance(classes, list) or not classes):
        document.report("bad-value", path, "`on` is a list of error classes.", "Write `on: [timeout, http_5xx]`.")
        return
    for index, name in enumerate(classes or ()):
        if not isinstance(name, str) or name not in ERROR_CLASSES:
            said = f"{str(name)[:40]!r} is not an error class."
            document.report("bad-value", (*path, index), said, did_you_mean(str(name), ERROR_CLASSES))
        elif name in NO_FALLBACK:
            said = f"Nothing stands in for `{name}`: a person said no, or must say what happened."
            document.report("fallback-class", (*path, index), said, "Take it out of the list.")
    if fallback.get("last_good") and doc.family in ("approval", "wait", "sleep"):
        said = f"An earlier output of a {doc.family} says nothing about this run."
        document.report("fallback-class", (*doc.path, "fallback", "last_good"), said, "Use a value.", key=True)


def _check_effect(document: Document, doc: StepDoc, step: StepPlan) -> None:
    if step.effect == "none" and (step.irreversible or step.already_done is not None):
        other = "irreversible" if step.irreversible else "already_done"
        said = (
            f"A step without effect is not `{other}`." if step.irreversible else "What has no effect needs no asking."
        )
        document.report("effect-contradiction", (*doc.path, "effect"), said, f"Remove `effect: none` or `{other}`.")
    asked = step.already_done
    if asked is None:
        return
    reads = (
        asked.family == "function"
        or (asked.family == "kv" and "get" in asked.config)
        or (asked.family == "db" and asked.config.get("write") is not True)
        or (asked.family == "http" and asked.config.get("method", "GET") in _READS)
    )
    if not reads:
        said = f"Asking whether `{step.id}` happened must not change anything."
        hint = "Use http with GET, db with query, kv with get, or a function."
        document.report("already-done-acts", (*doc.path, "already_done", asked.family), said, hint, key=True)


def _check_route(document: Document, doc: StepDoc, above: dict[str, frozenset[str]], names: set[str]) -> None:
    path = (*doc.path, routing.FAMILY)
    rules = routing.branches(doc.config)[1:]
    for number in range(len(rules) + 1):
        place = ("rules", number - 1) if number else ("default",)
        for index, name in enumerate(routing.leads_to(doc.config, number)):
            where = (*path, *place, "to", index)
            if name not in names:
                document.report("unknown-step", where, f"There is no step `{name}`.", did_you_mean(name, names))
            elif doc.id not in above.get(name, frozenset()):
                said = f"`{doc.id}` leads to `{name}`, but `{name}` does not wait for it."
                document.report("route-target", where, said, f"Add `{doc.id}` to the `needs` of `{name}`.")
    certain = next((i for i, r in enumerate(rules) if r.get("if") is True), len(rules))
    for index, rule in enumerate(rules):
        if index > certain:
            said = f"This rule is never taken: rule {certain + 1} always holds."
            document.report("route-unreachable", (*path, "rules", index), said, "Move it up, or remove it.")
        elif rule.get("if") is False:
            said = "This rule is never taken: its `if` is false."
            document.report("route-unreachable", (*path, "rules", index, "if"), said, "Give it an expression.")
