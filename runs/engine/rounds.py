"""`until`: a round of a step that polls has ended; does its condition hold?"""

from __future__ import annotations

from typing import Any

from flows.definition import expr
from runs.engine import inputs as given
from runs.engine import timing
from runs.engine.settle import fail
from runs.engine.state import BACKOFF, CANCELLED, SUCCEEDED, Step
from runs.engine.turn import Turn

Json = Any


def ended(turn: Turn, step: Step, event: given.AttemptEnded | given.Answered, output: Json) -> None:
    """Settle it with this round's output, or come back for the next round, which is a pass of its own."""
    until = turn.plan_of(step).until
    assert until is not None  # noqa: S101  for mypy; the caller checked
    try:
        holds = expr.truthy(until.condition, timing.scope_of_round(turn, step, output))
    except expr.ExprError as error:
        turn.cause("step.round", {"round": step.round_no + 1, **given.encode(event)}, step=step)
        fail(turn, step, {"class": "expression", "message": f"`until` of step {step.id}: {error}"})
        return
    if holds:
        turn.cause("step.succeeded", {"round": step.round_no + 1, **given.encode(event)}, step=step)
        turn.settle(step, SUCCEEDED, output=output, error=None)
        return
    at = turn.now + until.every
    turn.cause("step.round", {"round": step.round_no + 1, "wake_at": at, **given.encode(event)}, step=step)
    if turn.is_stopped(step):
        turn.settle(step, CANCELLED)
        turn.tell("step.cancelled", step)
    elif step.round_no + 1 >= until.max_rounds:
        message = f"After {until.max_rounds} rounds the condition of {step.id} did not hold."
        fail(turn, turn.put(step, round_no=until.max_rounds), {"class": "expired", "message": message})
    elif timing.too_late(turn, step, at):
        fail(turn, step, timing.missed(turn, step))
    else:
        turn.make_ready(timing.next_round(step), at, wait=None)
        turn.put(turn.step(step.id, step.item), status=BACKOFF)
