"""Lint of business time: what a missed time calls, and steps that poll."""

from __future__ import annotations

from collections.abc import Mapping

from flows.definition import expr
from flows.definition.lint_graph import did_you_mean, step_ids
from flows.definition.models_time import CALLING, HandlerSteps, Instead, UntilModel
from flows.definition.plan import StepPlan
from flows.definition.reader import Document, StepDoc
from flows.definition.yaml_source import Path

#: which time each on_… is about
_ABOUT: Mapping[str, str] = {"on_deadline": "deadline", "on_sla": "sla", "on_stall": "stall_after"}
#: families that hold no worker while they wait
_WAITING = frozenset({"approval", "wait", "sleep"})


def check(document: Document, steps: tuple[StepPlan, ...]) -> None:
    """Needs unique ids."""
    names, handlers = set(step_ids(document)), document.handlers
    for doc, step in zip(document.steps, steps, strict=True):
        for key in CALLING:
            _check_called(document, doc.path, key, getattr(doc.model, key), names, doc.id)
        _check_times(document, doc, step)
        _check_values(document, doc)
        if doc.model.until is not None:
            _check_until(document, doc, step)
        if doc.id in handlers:
            _check_handler(document, doc, step)
        else:
            _check_no_handler_needed(document, doc, handlers)
    if document.flow is not None:
        for key in ("on_deadline", "on_sla"):
            _check_called(document, (), key, getattr(document.flow, key), names, "")
        if document.flow.on_sla is not None and document.flow.sla is None:
            _nothing_to_miss(document, (), "on_sla", "sla")


# -- handler steps -----------------------------------------------------------------------------------------------
def _check_called(document: Document, path: Path, key: str, said: object, names: set[str], caller: str) -> None:
    if not isinstance(said, HandlerSteps):
        return
    for index, name in enumerate(said.steps):
        where = (*path, key, "steps", index)
        if name == caller:
            _handler_problem(document, where, f"`{name}` names itself.", "Name another step.")
        elif name not in names:
            document.report("unknown-step", where, f"There is no step `{name}`.", did_you_mean(name, names))


def _check_handler(document: Document, doc: StepDoc, step: StepPlan) -> None:
    """It stands apart: it is in nobody's order, waits for nobody, and calls nobody."""
    raw = document.source.data["steps"][doc.index]
    for key in ("needs", "when", *CALLING):
        if key in raw:
            said = f"`{doc.id}` runs only when a missed time calls it, so its `{key}` would do nothing."
            _handler_problem(document, (*doc.path, key), said, f"Remove `{key}`, or do not name the step there.")
    if doc.config.get("protects") or step.protected_by:
        said = f"`{doc.id}` runs only when a missed time calls it: it can neither protect a step nor be protected."
        _handler_problem(document, (*doc.path, doc.family), said, "Let another step do this.")


def _check_no_handler_needed(document: Document, doc: StepDoc, handlers: frozenset[str]) -> None:
    for index, need in enumerate(doc.model.needs or ()):
        if need in handlers:
            said = f"`{need}` runs only when a missed time calls it, so nothing can wait for it."
            _handler_problem(document, (*doc.path, "needs", index), said, "Need the step that calls it.")


def _handler_problem(document: Document, path: Path, said: str, hint: str) -> None:
    document.report("handler-step", path, said, hint)


# -- times -------------------------------------------------------------------------------------------------------
def _check_times(document: Document, doc: StepDoc, step: StepPlan) -> None:
    for key, about in _ABOUT.items():
        if getattr(doc.model, key) is not None and getattr(step, about) is None:
            _nothing_to_miss(document, doc.path, key, about)
    if doc.model.stall_after is not None and doc.family in (*_WAITING, "job"):
        said = f"A step that does `{doc.family}` holds no worker, so it cannot stall."
        document.report("bad-value", (*doc.path, "stall_after"), said, "Use `deadline`.", key=True)
    if doc.model.timeout is not None and step.deadline is not None and step.timeout > step.deadline:
        said = f"One attempt of `{doc.id}` may not take {step.timeout:g} s: its deadline is {step.deadline:g} s."
        hint = "Make the timeout shorter than the deadline."
        document.report("time-order", (*doc.path, "timeout"), said, hint, severity="warning")
    if doc.model.sla is not None and step.deadline is not None and step.deadline <= (step.sla or 0):
        said = f"The deadline of `{doc.id}` comes before its sla, so nobody is alerted."
        document.report("time-order", (*doc.path, "sla"), said, "Make the sla the shorter one.", severity="warning")


def _nothing_to_miss(document: Document, path: Path, key: str, about: str) -> None:
    said = f"`{key}` says what follows when the `{about}` was missed, but there is no `{about}`."
    document.report("missing-key", (*path, key), said, f"Add `{about}`.", key=True)


def _check_values(document: Document, doc: StepDoc) -> None:
    for key in CALLING:
        said = getattr(doc.model, key)
        if isinstance(said, Instead) and doc.family == "approval":
            text = "No value stands in for what people decide."
            document.report("bad-value", (*doc.path, key), text, "Use `on_expiry`, fail or {steps: […]}.")
    on_sla = doc.model.on_sla
    if doc.model.for_each is not None and on_sla is not None and not isinstance(on_sla, HandlerSteps):
        text = "The sla of a fan-out is of all of it together and ends no item."
        document.report("bad-value", (*doc.path, "on_sla"), text, "Use {steps: […]}, or a `deadline` for each item.")


# -- polling -----------------------------------------------------------------------------------------------------
def _check_until(document: Document, doc: StepDoc, step: StepPlan) -> None:
    path: Path = (*doc.path, "until")
    if doc.family in _WAITING:
        said = f"A step that does `{doc.family}` has nothing to ask again."
        document.report("until-step", path, said, "Poll with http or a function.", key=True)
    if step.irreversible:
        said = f"`{doc.id}` cannot be undone, and each round would do it once more."
        document.report("until-step", path, said, "Poll in a step of its own, after this one.", key=True)
    said_by = doc.model.until
    bounded = isinstance(said_by, UntilModel) and "max_rounds" in said_by.model_fields_set
    flow_deadline = document.flow.deadline if document.flow is not None else None
    if not bounded and step.deadline is None and flow_deadline is None:
        said = f"`{doc.id}` polls for up to {step.until.max_rounds if step.until else 0} rounds, or 30 days."
        hint = "Add `max_rounds` to it, or a `deadline` to the step."
        document.report("until-unbounded", path, said, hint, severity="warning", key=True)
    if step.until is not None and not _reads_own(step.until.condition, doc.id):
        said = "The condition does not read what the step gave, so no round can change it."
        where = (*path, "condition") if isinstance(said_by, UntilModel) else path
        document.report("until-step", where, said, f"Read it: ${{{{ steps.{doc.id}.output… }}}}.")


def _reads_own(condition: str, step: str) -> bool:
    try:
        parts = [p for p in expr.parse_template(condition) if p.expression]
        found = [r for part in parts for r in expr.references(part.text)]
    except (expr.TemplateError, expr.ExprError):
        return True  # reported with the text
    return any(r.path[:2] == ("steps", step) or list(r.path[:2]) == ["steps", step] for r in found)
