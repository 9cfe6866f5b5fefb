"""How things stand in a run that people may mend: what is broken, what depends on what, what a fork takes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from flows.definition.graph import descendants, needs_of
from flows.definition.plan import Plan
from runs.engine.state import NO_ITEM, PENDING, SKIPPED, SUCCEEDED, UNKNOWN, State, Step

Json = Any

#: runs that gave up and can be gone on with
DEAD: Final = frozenset({"failed", "timed_out"})
#: runs whose steps people may decide about: dead ones, and those with other steps still under way
MENDABLE: Final = DEAD | {"running", "waiting", "pausing", "paused"}


def was_undone(state: State) -> bool:
    """Has anything been compensated? Then what its steps did is no more, and they cannot simply go on. A run that was
    terminated may list what stays done: that was not touched."""
    ending = state.ending or {}
    return bool(ending.get("undone") or (ending.get("not_undone") and not ending.get("terminated")))


def own_steps(plan: Plan, steps: Iterable[Step]) -> list[Step]:
    """The step runs of the flow's own course, in plan order: no undoing, no handlers."""
    order = {s.id: i for i, s in enumerate(plan.steps) if not s.handler}
    return sorted((s for s in steps if s.id in order), key=lambda s: (order[s.id], s.item))


def broken(plan: Plan, steps: Iterable[Step]) -> list[Step]:
    """What failed, was cut off or is unknown: whole steps, not their items."""
    return [s for s in own_steps(plan, steps) if s.item == NO_ITEM and s.status not in {SUCCEEDED, SKIPPED, PENDING}]


def unknown(plan: Plan, steps: Iterable[Step]) -> list[Step]:
    """What a person must speak about first; the items rather than their fan-out."""
    return [s for s in own_steps(plan, steps) if s.status == UNKNOWN]


def depending_on(plan: Plan, step: str) -> set[str]:
    return {step} | set(descendants(needs_of(plan), step))


def asked_again(plan: Plan, again: Iterable[str]) -> set[str]:
    """The approvals that protect any of these steps."""
    return {approval for step in again for approval in plan.step(step).protected_by}


def is_approved(plan: Plan, state_steps: Mapping[tuple[str, int], Step], step: Step) -> bool:
    """Did people say yes to this protected step (or is it not protected)?"""
    approvals = [state_steps.get((a, NO_ITEM)) or Step(a) for a in plan.step(step.id).protected_by]
    return all(a.granted is not None for a in approvals)


def kept_by_fork(plan: Plan, state: State, step: str) -> list[Step]:
    """The whole steps a fork from `step` takes over: done or passed over, and no part of what is done again.

    An approval is taken over only where everything it protects is: nobody inherits a yes."""
    again = depending_on(plan, step)
    found = [
        s
        for s in own_steps(plan, state.steps.values())
        if s.item == NO_ITEM and s.id not in again and (s.status == SUCCEEDED or by_choice(s))
    ]
    while True:
        ids = {s.id for s in found}
        open_ = asked_again(plan, (s.id for s in plan.steps if s.id not in ids))
        if not ids & open_:
            return found
        found = [s for s in found if s.id not in open_]


def by_choice(step: Step) -> bool:
    return step.status == SKIPPED and step.reason in {"if", "when", "operator"}


def keep(step: Step) -> dict[str, Json]:
    """How a step goes into `Forked.kept`."""
    kept = {"step": step.id, "status": step.status, "output": step.output, "attempt": step.attempt}
    return kept | ({"reason": step.reason} if step.status == SKIPPED else {"error": step.error} if step.error else {})
