"""What people do about steps that failed: try them again, pass them over, say what became of them; and forks.

A run that gave up (failed, timed out) is reopened in place once nothing stands in its way: it is queued like a new
run, takes its place and goes on. Nothing here gets past an approval: an approval step can only be asked again, and a
protected step that was not approved can be neither passed over nor completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from flows.definition.graph import descendants, needs_of
from flows.definition.plan import UNDO
from runs.engine import inputs as given
from runs.engine.settle import fail_for_good
from runs.engine.standing import (
    DEAD,
    MENDABLE,
    asked_again,
    broken,
    by_choice,
    depending_on,
    is_approved,
    own_steps,
    unknown,
    was_undone,
)
from runs.engine.state import (
    CANCELLED,
    FAILED,
    FANNED,
    NO_ITEM,
    PENDING,
    RUN_ENDED,
    SKIPPED,
    SUCCEEDED,
    UNKNOWN,
    Step,
)
from runs.engine.turn import Turn

Json = Any

#: each pass of these has one token, which is used up once it was opened
ASKS: Final = frozenset({"approval", "wait", "call", "job"})
#: the skips that a person or the flow itself decided: they are no consequence of a failure
_DECIDED: Final = frozenset({"operator"})


# -- putting back --------------------------------------------------------------------------------------------------
def _again(turn: Turn, step: Step, *, new_pass: bool = False) -> Step:
    """Back to pending, as if it had not been reached: in the same pass, or in a new one."""
    plan = turn.plan_of(step)
    new_pass = new_pass or (plan.family in ASKS and step.attempt > 0)
    acted = step.acted or (new_pass and step.status in {SUCCEEDED, UNKNOWN})
    pass_no = step.pass_no + new_pass
    if new_pass and step.item != NO_ITEM:  # never behind the fan-out's own, which may count further
        pass_no = max(pass_no, turn.step(step.id).pass_no)
    fresh = Step(
        step.id,
        step.item,
        pass_no=pass_no,
        attempt=step.attempt,
        order=step.order,
        acted=acted,
        previous_digest=step.agreed_digest,
    )
    return turn.back_to_pending(fresh)


def _retry_step(turn: Turn, step: Step) -> None:
    """Same pass. A fan-out keeps the items that succeeded."""
    if turn.plan_of(step).for_each is None or step.items is None:
        _again(turn, step)
        return
    turn.put(step, status=FANNED, error=None, ended_at=None, reason="")
    for item in turn.items_of(step):
        if item.status not in {SUCCEEDED, PENDING} and not by_choice(item):
            _again(turn, item)


def _put_back_skipped(turn: Turn, below: Iterable[str]) -> None:
    """Steps that were skipped because of what failed are open again; a skip that a person chose stands."""
    ids = {name for step in below for name in descendants(needs_of(turn.plan), step)}
    for step_id in sorted(ids):
        step = turn.step(step_id)
        if step.status == SKIPPED and step.reason not in _DECIDED:
            _retry_step(turn, step)


def _reopen(turn: Turn) -> None:
    """Queued once more: it takes a place of its concurrency key like a new run."""
    turn.set_run(status="queued", error=None, output=None, ended_at=None, ending=None, cancel=None, paused=None)
    turn.tell("run.reopened")


def _can_reopen(turn: Turn) -> bool:
    return turn.before.status in DEAD and not was_undone(turn.before)


def _settle_matters(turn: Turn) -> None:
    """After a person decided about a step: a dead run goes on once no other step stands in its way."""
    if turn.before.status not in RUN_ENDED:
        return
    left = next((s for s in broken(turn.plan, turn.steps.values()) if s.status in {FAILED, UNKNOWN}), None)
    if left is not None:
        turn.set_run(error={**(left.error or {}), "step": left.id})
        return
    for step in broken(turn.plan, turn.steps.values()):
        if step.status == CANCELLED:
            _retry_step(turn, step)
    _reopen(turn)


# -- the inputs ----------------------------------------------------------------------------------------------------
def _retry(turn: Turn, event: given.RetryRequested) -> bool:
    found = broken(turn.plan, turn.steps.values())
    if not _can_reopen(turn) or not found or unknown(turn.plan, turn.steps.values()):
        return False
    turn.cause("run.retry_requested", given.encode(event), actor=event.actor)
    for step in found:
        _retry_step(turn, step)
    _put_back_skipped(turn, [s.id for s in found])
    _reopen(turn)
    return True


def _retry_from(turn: Turn, event: given.RetryFromRequested) -> bool:
    known = {s.id for s in turn.plan.steps if not s.handler}
    if not _can_reopen(turn) or event.step not in known or unknown(turn.plan, turn.steps.values()):
        return False
    if turn.step(event.step).status == PENDING:
        return False
    turn.cause("run.retry_requested", given.encode(event), step=turn.step(event.step), actor=event.actor)
    again = depending_on(turn.plan, event.step)
    again |= asked_again(turn.plan, again)
    others = [s for s in broken(turn.plan, turn.steps.values()) if s.id not in again]
    for step in own_steps(turn.plan, list(turn.steps.values())):
        if step.id in again and (step.status != PENDING or step.item != NO_ITEM):
            _new_pass(turn, step, event.reason)
    for step in others:
        _retry_step(turn, step)
    _put_back_skipped(turn, [s.id for s in others])
    _reopen(turn)
    return True


def _new_pass(turn: Turn, step: Step, reason: str) -> None:
    fresh = _again(turn, step, new_pass=True)
    if step.item == NO_ITEM:
        turn.tell("step.reopened", fresh, {"pass": fresh.pass_no, "reason": reason})


def _may_decide(turn: Turn, step: Step, statuses: frozenset[str]) -> bool:
    """People may speak for this step: it is broken, and no approval is passed by."""
    if turn.before.status not in MENDABLE or was_undone(turn.before):
        return False
    if turn.before.status not in DEAD and turn.ending:
        return False
    if step.id.endswith(UNDO) or step.id not in {s.id for s in turn.plan.steps} or step.status not in statuses:
        return False
    plan = turn.plan_of(step)
    return plan.family != "approval" and not plan.handler and is_approved(turn.plan, turn.steps, step)


def _skip(turn: Turn, event: given.SkipRequested) -> bool:
    step = turn.step(event.step, event.item)
    if not _may_decide(turn, step, frozenset({FAILED})):
        return False
    turn.cause("step.skip_requested", given.encode(event), step=step, actor=event.actor)
    turn.settle(step, SKIPPED, reason="operator", error=None)
    turn.tell("step.skipped", step, {"reason": "operator"})
    _decided(turn, step)
    return True


def _complete(turn: Turn, event: given.CompleteRequested) -> bool:
    step = turn.step(event.step, event.item)
    if not _may_decide(turn, step, frozenset({FAILED, UNKNOWN})):
        return False
    turn.cause("step.complete_requested", given.encode(event), step=step, actor=event.actor)
    _succeed(turn, step, event.output)
    return True


def _outcome(turn: Turn, event: given.OutcomeSaid) -> bool:
    step = turn.step(event.step, event.item)
    if event.outcome not in {"done", "not_done", "again"} or not _may_decide(turn, step, frozenset({UNKNOWN})):
        return False
    turn.cause("step.outcome_said", given.encode(event), step=step, actor=event.actor)
    if event.outcome == "done":
        _succeed(turn, step, event.output)
    elif event.outcome == "not_done":
        before = (step.error or {}).get("details") or {"class": "lost", "message": "The attempt was lost."}
        fail_for_good(turn, turn.put(step, acted=False), before)
        _decided(turn, step)
    else:
        fresh = _again(turn, turn.put(step, acted=True))
        _decided(turn, fresh)
    return True


def _succeed(turn: Turn, step: Step, output: Json) -> None:
    turn.settle(step, SUCCEEDED, output=output, error=None)
    turn.tell("step.succeeded", step, {"attempt": step.attempt, "output": output, "by_hand": True})
    _decided(turn, step)


def _decided(turn: Turn, step: Step) -> None:
    """The step is decided about: its fan-out, what was skipped because of it, and its run go on where they can."""
    if step.item != NO_ITEM:
        parent = turn.step(step.id)
        if parent.status == FAILED:
            _mend_fan_out(turn, parent)
        if turn.step(step.id).status == FAILED:
            _settle_matters(turn)
            return
    if turn.step(step.id).status != FAILED:
        _put_back_skipped(turn, [step.id])
    _settle_matters(turn)


def _mend_fan_out(turn: Turn, parent: Step) -> None:
    """The whole goes on once none of its items is in its way."""
    each = turn.plan_of(parent).for_each
    bad = {UNKNOWN} if each is not None and each.on_item_error == "continue" else {UNKNOWN, FAILED}
    items = turn.items_of(parent)
    left = next((s for s in items if s.status in bad), None)
    if left is not None:
        turn.put(parent, error={**(left.error or {}), "item": left.item})
        return
    turn.put(parent, status=FANNED, error=None, ended_at=None)
    for item in items:
        if item.status == CANCELLED:
            _again(turn, item)


def _forked(turn: Turn, event: given.Forked) -> bool:
    if turn.before.status != "queued" or turn.before.started_at is not None or turn.steps:
        return False
    turn.cause("run.forked", given.encode(event), step=Step(event.step), actor=event.actor)
    for kept in event.kept or ():
        skipped = kept["status"] == SKIPPED
        turn.put(
            Step(kept["step"], status=kept["status"], attempt=kept.get("attempt", 0)),
            output=kept.get("output"), error=kept.get("error"), ended_at=turn.now,
            reason=kept.get("reason", "") if skipped else "kept",
        )  # fmt: skip
    return True


HANDLERS: Final[dict[type[Any], Callable[[Turn, Any], bool]]] = {
    given.RetryRequested: _retry,
    given.RetryFromRequested: _retry_from,
    given.SkipRequested: _skip,
    given.CompleteRequested: _complete,
    given.OutcomeSaid: _outcome,
    given.Forked: _forked,
}
#: inputs that have a place in a run that ended
OF_ENDED: Final = frozenset(HANDLERS) - {given.Forked}
