"""What is asked of a run as a whole: its beginning, pause and resume, cancel and terminate, and that it is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from runs.engine import ending, timing
from runs.engine import inputs as given
from runs.engine.turn import HoldWork, ReleaseWork, Turn


def _started(turn: Turn, event: given.Started) -> bool:
    if turn.get("status") != "queued":
        return False
    started = turn.get("started_at")  # a run that was reopened began long ago
    turn.set_run(status="running", started_at=turn.now if started is None else started)
    turn.cause("run.started", given.encode(event))
    timing.run_started(turn)
    return True


def _pause(turn: Turn, event: given.PauseRequested) -> bool:
    if turn.get("paused") is not None or _is_stopping(turn) or turn.get("status") == "queued":
        return False
    turn.set_run(paused={"actor": event.actor, "reason": event.reason, "at": turn.now})
    turn.cause("run.pause_requested", given.encode(event), actor=event.actor)
    turn.do(HoldWork())
    return True


def _resume(turn: Turn, event: given.Resumed) -> bool:
    if turn.get("paused") is None:
        return False
    turn.set_run(paused=None)
    turn.cause("run.resumed", given.encode(event), actor=event.actor)
    turn.do(ReleaseWork())
    return True


def _cancel(turn: Turn, event: given.CancelRequested) -> bool:
    if turn.ending:
        return False
    turn.cause("run.cancel_requested", given.encode(event), actor=event.actor)
    undo = "cancel" in turn.plan.compensate_on
    ending.begin(turn, to="cancelled", actor=event.actor, reason=event.reason, compensate=undo)
    return True


def _is_stopping(turn: Turn) -> bool:
    """Attempts in flight are waited for, and nothing else goes on: there is nothing to pause."""
    return turn.ending and turn.get("status") == "cancelling"


def _terminate(turn: Turn, event: given.TerminateRequested) -> bool:
    turn.cause("run.terminate_requested", given.encode(event), actor=event.actor)
    ending.terminate(turn, actor=event.actor, reason=event.reason)
    return True


def _given_up(turn: Turn, event: given.GivenUp) -> bool:
    ending.give_up(turn, given.encode(event))
    return True


HANDLERS: Final[dict[type[Any], Callable[[Turn, Any], bool]]] = {
    given.Started: _started,
    given.PauseRequested: _pause,
    given.Resumed: _resume,
    given.CancelRequested: _cancel,
    given.TerminateRequested: _terminate,
    given.GivenUp: _given_up,
}
