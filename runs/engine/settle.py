"""How a single step comes to its end: skipped, failed (or its fallback takes over), cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flows.definition import expr
from flows.definition.plan import Fallback
from runs.engine import contracts, timing
from runs.engine.state import CANCELLED, FAILED, SKIPPED, SUCCEEDED, UNKNOWN, WAITING, Step
from runs.engine.turn import CloseWait, Turn

Json = Any

#: a person or an unknown outcome is not something a fallback may paper over
NO_FALLBACK: Final = frozenset({"unknown_outcome", "rejected"})


def fail(turn: Turn, step: Step, error: Mapping[str, Json]) -> None:
    """The step's attempts or its time are spent: what its on_… says, its fallback takes over, or it has failed."""
    if timing.handle(turn, step, error):
        return
    plan = turn.plan_of(step)
    fallback = None if timing.gives_up_at_once(plan, error) else plan.fallback
    if fallback is None or not _stands_in(turn, fallback, step, error):
        fail_for_good(turn, step, error)
    elif fallback.family is None and not fallback.last_good:
        _use_value(turn, fallback, step, error)
    else:
        turn.set_run(degraded=True)
        turn.tell("step.fallback", step, {"error": dict(error)})
        turn.make_ready(
            step, turn.now, fallback=True, tries=0, lost=0, first_at=None, error=dict(error), load=None, doubt=None
        )


def _stands_in(turn: Turn, fallback: Fallback, step: Step, error: Mapping[str, Json]) -> bool:
    if step.fallback or turn.is_stopped(step) or error["class"] in NO_FALLBACK:
        return False
    return not fallback.on or error["class"] in fallback.on


def _use_value(turn: Turn, fallback: Fallback, step: Step, error: Mapping[str, Json]) -> None:
    """What downstream gets keeps the step's contract, too."""
    try:
        value = expr.render(fallback.value, turn.scope_of(step))
    except expr.ExprError as problem:
        fail_for_good(turn, step, {"class": "expression", "message": f"`fallback` of step {step.id}: {problem}"})
        return
    breach = contracts.after(turn, step, value)
    if breach is not None:
        fail_for_good(turn, step, breach)
        return
    turn.set_run(degraded=True)
    turn.tell("step.fallback", step, {"error": dict(error)})
    turn.settle(step, SUCCEEDED, output=value, error=dict(error), fallback=True, load=None, doubt=None)
    turn.tell("step.succeeded", step, {"attempt": step.attempt, "output": value, "fallback": True})


def fail_for_good(turn: Turn, step: Step, error: Mapping[str, Json]) -> None:
    """The step has failed, with no fallback (or with its fallback's chance used up)."""
    turn.settle(step, FAILED, error=dict(error))
    turn.tell("step.failed", step, {"attempt": step.attempt, "error": dict(error)})


def unknown(turn: Turn, step: Step, error: Mapping[str, Json]) -> None:
    """Nobody can say whether the step happened, and it must not be sent once more."""
    message = (
        f"Whether {step.id} happened is not known: {error.get('message', 'the attempt was lost')} "
        "A repeat might do it twice, since its target does not recognise one, so a person must say."
    )
    turn.settle(
        step,
        UNKNOWN,
        error={"class": "unknown_outcome", "message": message, "details": dict(error)},
    )
    turn.tell("step.unknown", step, {"attempt": step.attempt})


def cancel_step(turn: Turn, step: Step, reason: str = "withdrawn") -> None:
    """Stop what holds no worker. A running attempt is not touched: its worker must come back first."""
    if step.status == WAITING:
        turn.do(CloseWait(step.id, step.item, step.pass_no, reason))
    turn.settle(step, CANCELLED)
    turn.tell("step.cancelled", step, {"reason": step.reason} if step.reason else None)


def skip(turn: Turn, step: Step, reason: str) -> None:
    turn.settle(step, SKIPPED, reason=reason)
    turn.tell("step.skipped", step, {"reason": reason})
