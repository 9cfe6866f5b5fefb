"""How a single step comes to its end: skipped, failed (or its fallback takes over), cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flows.definition import expr
from runs.engine import timing
from runs.engine.state import CANCELLED, FAILED, SKIPPED, SUCCEEDED, WAITING, Step
from runs.engine.turn import CloseWait, Turn

Json = Any

#: a person or an unknown outcome is not something a fallback may paper over
_NO_FALLBACK: Final = frozenset({"unknown_outcome", "rejected"})


def fail(turn: Turn, step: Step, error: Mapping[str, Json]) -> None:
    """The step's attempts or its time are spent: what its on_… says, its fallback takes over, or it has failed."""
    if timing.handle(turn, step, error):
        return
    plan = turn.plan_of(step)
    fallback = None if timing.gives_up_at_once(plan, error) else plan.fallback
    if fallback is None or step.fallback or turn.is_stopped(step) or error["class"] in _NO_FALLBACK:
        fail_for_good(turn, step, error)
        return
    if fallback.family is None:
        try:
            value = expr.render(fallback.value, turn.scope_of(step))
        except expr.ExprError as problem:
            fail_for_good(turn, step, {"class": "expression", "message": f"`fallback` of step {step.id}: {problem}"})
            return
    turn.set_run(degraded=True)
    turn.tell("step.fallback", step, {"error": dict(error)})
    if fallback.family is None:
        turn.settle(step, SUCCEEDED, output=value, error=dict(error), fallback=True)
        turn.tell("step.succeeded", step, {"attempt": step.attempt, "output": value, "fallback": True})
    else:
        turn.make_ready(
            step,
            turn.now,
            fallback=True,
            tries=0,
            lost=0,
            first_at=None,
            error=dict(error),
        )


def fail_for_good(turn: Turn, step: Step, error: Mapping[str, Json]) -> None:
    """The step has failed, with no fallback (or with its fallback's chance used up)."""
    turn.settle(step, FAILED, error=dict(error))
    turn.tell("step.failed", step, {"attempt": step.attempt, "error": dict(error)})


def cancel_step(turn: Turn, step: Step, reason: str = "withdrawn") -> None:
    """Stop what holds no worker. A running attempt is not touched: its worker must come back first."""
    if step.status == WAITING:
        turn.do(CloseWait(step.id, step.item, step.pass_no, reason))
    turn.settle(step, CANCELLED)
    turn.tell("step.cancelled", step)


def skip(turn: Turn, step: Step, reason: str) -> None:
    turn.settle(step, SKIPPED, reason=reason)
    turn.tell("step.skipped", step, {"reason": reason})
