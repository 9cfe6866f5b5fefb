"""Lint of the graph: names, needs, cycles, steps that can never run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flows.definition.graph import find_cycle
from flows.definition.plan import StepPlan
from flows.definition.reader import Document


def step_ids(document: Document) -> list[str]:
    """The ids as written, of steps that are otherwise wrong too."""
    steps = document.source.data.get("steps")
    found = [s.get("id") for s in steps if isinstance(s, dict)] if isinstance(steps, list) else []
    return [s for s in found if isinstance(s, str)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A mend for an unknown name."""
    close = difflib.get_close_matches(name, list(names), 1, 0.5)
    if close:
        return f"Did you mean `{close[0]}`?"
    known = sorted(names)
    return f"There are: {', '.join(known[:12]) or 'none'}{', …' if len(known) > 12 else ''}."


def check(document: Document, steps: tuple[StepPlan, ...]) -> bool:
    """Report problems; False when the graph is too broken for anything that follows edges."""
    unique = _check_duplicates(document)
    _check_triggers(document)
    names = set(step_ids(document))
    for doc, step in zip(document.steps, steps, strict=True):
        for need in step.needs if doc.model.needs is not None else ():
            if need not in names:
                _unknown_need(document, (*doc.path, "needs"), doc.model.needs or [], need, names)
        _check_reachable(document, doc.path, step)
    cycle = find_cycle(document.needs()) if unique else []
    if cycle:
        index = _index_of(document, cycle[0])
        said = f"These steps wait for one another: {' -> '.join([*cycle, cycle[0]])}."
        document.report("cycle", ("steps", index, "needs"), said, "Take one of them out of a `needs`.")
    return unique and not cycle


def _index_of(document: Document, step: str) -> int:
    steps = document.source.data["steps"]
    return next(i for i, s in enumerate(steps) if isinstance(s, dict) and s.get("id") == step)


def _check_duplicates(document: Document) -> bool:
    seen: dict[str, int] = {}
    unique = True
    steps = document.source.data.get("steps")
    for index, raw in enumerate(steps if isinstance(steps, list) else ()):
        name = raw.get("id") if isinstance(raw, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            unique = False
            line = document.source.at(("steps", seen[name], "id")).line
            said = f"The step `{name}` is already on line {line}."
            document.report("duplicate-id", ("steps", index, "id"), said, "Give one of them another id.")
        seen.setdefault(name, index)
    return unique


def _check_triggers(document: Document) -> None:
    seen: set[str] = set()
    for trigger in document.triggers:
        if trigger.name in seen:
            said = f"There are two triggers named `{trigger.name}`."
            hint = "Give each webhook and schedule a `name` of its own; `manual` may be there once."
            document.report("duplicate-id", ("triggers", trigger.index, trigger.kind), said, hint, key=True)
        seen.add(trigger.name)


def _unknown_need(
    document: Document, path: tuple[str | int, ...], needs: list[str], need: str, names: set[str]
) -> None:
    where = (*path, needs.index(need))
    document.report("unknown-step", where, f"There is no step `{need}`.", did_you_mean(need, names))


def _check_reachable(document: Document, path: tuple[str | int, ...], step: StepPlan) -> None:
    if step.condition is False:
        hint = "Remove the step, or give its `if` an expression."
        said = f"The step `{step.id}` never runs: its `if` is false."
        document.report("unreachable-step", (*path, "if"), said, hint, severity="warning")
    if step.when == "failure" and not step.needs:
        said = f"The step `{step.id}` never runs: it waits for a failure, but needs no step."
        document.report("unreachable-step", (*path, "when"), said, "Name the step that may fail in `needs`.")
