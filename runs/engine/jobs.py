"""What a job's runner said, as the core takes it: like the end of an attempt. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runs.engine import contracts, doubt, rounds, timing
from runs.engine import inputs as given
from runs.engine.backoff import may_help, next_try
from runs.engine.settle import fail, unknown
from runs.engine.state import BACKOFF, SUCCEEDED, Step
from runs.engine.turn import ClearTimer, Turn

Json = Any
KIND: Final = "job"


def ended(turn: Turn, step: Step, event: given.Answered) -> None:
    """`event.payload`: {output}, or {error, retry, lost}; `lost`: nobody knows whether it happened."""
    told: Mapping[str, Json] = event.payload
    turn.do(ClearTimer(step.id, step.item, "wait"))
    if "error" not in told:
        _done(turn, step, event, told["output"])
        return
    turn.cause("step.answered", {"kind": KIND, **given.encode(event)}, step=step)
    error = dict(told["error"])
    if told.get("lost"):
        _lost(turn, turn.put(step, acted=True), error, event.rand)
    elif told.get("retry"):
        _again(turn, step, error, event.rand)
    else:
        fail(turn, step, error)


def _done(turn: Turn, step: Step, event: given.Answered, output: Json) -> None:
    breach = event.breach if event.checked else contracts.after(turn, step, output)
    if breach is None and turn.plan_of(step).until is not None:
        rounds.ended(turn, step, event, output)
        return
    turn.cause("step.answered", {"kind": KIND, **given.encode(event)}, step=step)
    if breach is None:
        turn.settle(step, SUCCEEDED, output=output, error=None)
    elif "contract" in turn.plan_of(step).retry.on and doubt.may_repeat(turn.plan_of(step), step, repeatable=False):
        _again(turn, turn.put(step, acted=True), dict(breach), event.rand)
    else:
        fail(turn, turn.put(step, acted=True), breach)


def _lost(turn: Turn, step: Step, error: dict[str, Json], rand: float) -> None:
    if doubt.arises(turn, step):
        doubt.ask(turn, turn.put(step, wait=None), error, rand=rand)
    elif not doubt.may_repeat(turn.plan_of(step), step, repeatable=False):
        unknown(turn, step, error)
    else:
        _again(turn, step, error, rand)


def _again(turn: Turn, step: Step, error: dict[str, Json], rand: float) -> None:
    """Try again as the policy says, or fail."""
    policy, at = turn.plan_of(step).retry, None
    if may_help(policy, error.get("class", "")) and not turn.is_stopped(step):
        first_at = turn.now if step.first_at is None else step.first_at
        at = next_try(policy, tries=step.tries, first_at=first_at, now=turn.now, rand=rand)
    if timing.too_late(turn, step, turn.now if at is None else at):
        fail(turn, step, timing.missed(turn, step, error))
    elif at is None:
        fail(turn, step, error)
    else:
        turn.make_ready(step, at, error=error, wait=None)
        turn.put(turn.step(step.id, step.item), status=BACKOFF)
        turn.tell("step.again", step, {"error": error, "wake_at": at})
