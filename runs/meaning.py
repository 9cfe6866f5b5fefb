"""What a claimed row says about its run, given the run as it is."""

from __future__ import annotations

from collections.abc import Callable

from flows.resolve import ResolveError
from runs import acting, kept, live, waits
from runs.engine import inputs as given
from runs.engine.state import RUNNING, WAITING, Step
from runs.models import Work
from runs.named import matching
from runs.queue import Claim
from runs.store import Loaded

#: the timer of a wait; every other name is the core's own, or has somebody look at a named event
WAIT = "wait"
MakeInput = Callable[[Loaded], given.Input | None]


def meaning_of(held: Claim) -> MakeInput:
    """Made anew on fresh state each time the run has moved. None: only that the row's step may start."""

    def make(loaded: Loaded) -> given.Input | None:
        state = loaded.state
        if held.kind == Work.Kind.TIMER and held.name not in (WAIT, matching.TIMER):
            return _timer(loaded, held) if state.paused is None else None
        if held.step == "":
            return given.Started() if state.status == "queued" else None
        step = state.step(held.step, held.item)
        if step.status == RUNNING and held.kind == Work.Kind.STEP:
            return _lost(loaded, step)
        if step.status != WAITING or state.paused is not None:
            return None
        is_time = held.kind == Work.Kind.TIMER and held.name == WAIT
        if is_time:
            matching.settled(step.wait or {})
        answer = waits.answer_of(loaded, step.id, step.item, step.pass_no)
        if answer is not None:  # given before the timer fired: it stands
            return kept.answered(loaded, step, **answer)
        return given.TimeUp(step.id, step.item, step.pass_no) if is_time else None

    return make


def _timer(loaded: Loaded, held: Claim) -> given.Input:
    step = loaded.state.step(held.step, held.item)
    if held.step != "" and step.status == WAITING:
        answer = waits.answer_of(loaded, step.id, step.item, step.pass_no)
        if answer is not None:  # given before the deadline fired: it stands
            return kept.answered(loaded, step, **answer)
    return given.TimerDue(held.step, held.item, held.name)


def just(event: given.Input) -> MakeInput:
    return lambda _: event


def _lost(loaded: Loaded, step: Step) -> given.AttemptLost:
    """Its lease is over and it never ended: nobody will answer for this attempt any more."""
    try:
        action = acting.action_of(loaded, step)
    except ResolveError:
        action = None
    repeatable = acting.is_repeatable(acting.effective(loaded.plan, step), action)
    left = live.left_by(loaded.state.run_id, step)
    return given.AttemptLost(step.id, step.item, step.attempt, repeatable, checkpoint=left)
