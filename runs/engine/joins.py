"""Joins of N: a step that opens once N of its needs have succeeded, and what becomes of the others.

A step has lost when nobody waits for it any more: everything that needs it has opened without it, cannot run, or has
lost itself. What a loser waits for is withdrawn, what it had not started never starts. An attempt in flight is let end;
its result is recorded and changes nothing, unless it may not be forgotten: what is irreversible, protected or has an
undoing keeps its result.
"""

from __future__ import annotations

from flows.definition.plan import StepPlan
from runs.engine.settle import cancel_step
from runs.engine.state import CANCELLED, FANNED, LOST, PENDING, RUNNING, SKIPPED, SUCCEEDED, Step
from runs.engine.turn import Turn


def is_met(turn: Turn, plan: StepPlan) -> bool:
    """Have as many needs succeeded as the step asks for? One skipped by its own `if` is no success."""
    return sum(turn.step(n).status == SUCCEEDED for n in plan.needs) >= _wanted(plan)


def is_out_of_reach(turn: Turn, plan: StepPlan) -> bool:
    """Too many needs ended otherwise."""
    return sum(not (s := turn.step(n)).settled or s.status == SUCCEEDED for n in plan.needs) < _wanted(plan)


def _wanted(plan: StepPlan) -> int:
    return len(plan.needs) if plan.join is None else plan.join


def withdraw_losers(turn: Turn) -> bool:
    """Stop what lost since the last look. True when something ended by it."""
    lost: set[str] = set()
    for join in turn.plan.joins:
        if turn.step(join.id).status != PENDING and is_met(turn, join):
            _collect(turn, join, lost)
    moved = False
    for step in sorted(lost):
        moved |= _withdraw(turn, step)
    return moved


def _collect(turn: Turn, user: StepPlan, lost: set[str]) -> None:
    """The needs of `user` that nobody waits for, and theirs."""
    for need in user.needs:
        if need not in lost and not turn.step(need).settled and _is_unwanted(turn, need, lost):
            lost.add(need)
            _collect(turn, turn.plan.step(need), lost)


def _is_unwanted(turn: Turn, step_id: str, lost: set[str]) -> bool:
    return all(
        d.id in lost or turn.step(d.id).status != PENDING or _cannot(turn, d) for d in turn.plan.dependents[step_id]
    )


def _cannot(turn: Turn, plan: StepPlan) -> bool:
    """The step will be skipped whatever else happens."""
    if plan.when != "success":
        return False
    if plan.join is not None:
        return is_out_of_reach(turn, plan)
    return any(s.settled and not satisfies(s) for s in map(turn.step, plan.needs))


def satisfies(step: Step) -> bool:
    return step.status == SUCCEEDED or (step.status == SKIPPED and step.reason in {"if", "when", "route", "operator"})


def _withdraw(turn: Turn, step_id: str) -> bool:
    parent = turn.step(step_id)
    if parent.status != FANNED:
        return _stop(turn, parent)
    parent = turn.put(parent, reason=LOST) if parent.reason != LOST else parent
    moved = False
    for item in turn.items_of(parent):
        moved |= not item.settled and _stop(turn, item)
    if all(item.settled for item in turn.items_of(parent)):
        turn.settle(parent, CANCELLED, items=None, keys=None)
        turn.tell("step.cancelled", parent, {"reason": LOST})
        return True
    return moved


def _stop(turn: Turn, step: Step) -> bool:
    """True when the step ended; one that runs is only marked, so that its result changes nothing."""
    if step.status == RUNNING:
        if not _may_not_be_forgotten(turn.plan_of(step)) and step.reason != LOST:
            turn.put(step, reason=LOST)
            turn.tell("step.stop_requested", step, {"reason": LOST})
        return False
    cancel_step(turn, turn.put(step, reason=LOST))
    return True


def _may_not_be_forgotten(plan: StepPlan) -> bool:
    return plan.irreversible or bool(plan.protected_by) or plan.compensate is not None or plan.effect == "once"


def is_absorbed(turn: Turn, step_id: str) -> bool:
    """Did everything that needed a failed step go on without it? Then the run has not failed with it."""
    users = turn.plan.dependents[step_id]
    return bool(users) and all(_goes_on(turn, user) for user in users)


def _goes_on(turn: Turn, user: StepPlan) -> bool:
    if user.join is not None:
        return is_met(turn, user)
    step = turn.step(user.id)
    return step.status == SKIPPED and step.reason == "needs" and is_absorbed(turn, user.id)
