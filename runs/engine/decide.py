"""decide(plan, state, input, now) -> Decision. It alone knows what happens next.

Pure: no clock, no randomness, no I/O. The same arguments give the same decision for ever, which is what dry runs,
replays and the tests rely on. An input that has no place (late, duplicate, fenced off) is refused and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flows.definition.plan import Plan
from runs.engine import answers, clockwork, control, repair, timing, tries
from runs.engine import inputs as given
from runs.engine.advance import advance, decide_anew, name_status
from runs.engine.state import RUNNING, State
from runs.engine.turn import Decision, Turn

#: inputs that may take up anew what had settled
_TAKES_UP: Final = frozenset({given.ActionChanged, given.OutcomeSaid, given.SkipRequested, given.CompleteRequested})


def decide(
    plan: Plan,
    state: State,
    event: given.Input,
    now: float,
    *,
    urls: Mapping[str, str] | None = None,
) -> Decision:
    """What follows from `event` at `now` (epoch seconds). `urls`: {wait step: its callback URL}, for expressions."""
    turn = Turn(plan, state, now, urls)
    handler = _HANDLERS[type(event)]
    late = type(event) in repair.OF_ENDED or isinstance(event, given.OutputKept)
    if (state.ended and not late) or not handler(turn, event):
        return turn.refused()
    if type(event) in _TAKES_UP and not turn.ending:
        decide_anew(turn)
    begun = isinstance(event, given.AttemptStarted) and turn.step(event.step, event.item).status == RUNNING
    if begun and not turn.ending:
        name_status(turn)  # nothing opens, ends or joins because an attempt starts (one that is refused fails its step)
    else:
        advance(turn)
    return turn.decision()


def _output_kept(turn: Turn, event: given.OutputKept) -> bool:
    if event.step == "":
        turn.set_run(output=event.ref)
        turn.cause("run.output_kept", given.encode(event))
        return True
    step = turn.step(event.step, event.item)
    if not step.settled:
        return False
    turn.cause("step.output_kept", given.encode(event), step=step)
    turn.put(step, output=event.ref)
    return True


def _timer_due(turn: Turn, event: given.TimerDue) -> bool:
    handler = _TIMERS.get(event.name)
    return handler is not None and handler(turn, event)


#: by the timer's name; each records the cause and says whether it had a place
_TIMERS: Final[dict[str, Callable[[Turn, given.TimerDue], bool]]] = {
    timing.DEADLINE: clockwork.deadline,
    timing.SLA: clockwork.sla,
}
_HANDLERS: Final[dict[type[Any], Callable[[Turn, Any], bool]]] = {
    **control.HANDLERS,
    **tries.HANDLERS,
    **answers.HANDLERS,
    **repair.HANDLERS,
    given.TimerDue: _timer_due,
    given.OutputKept: _output_kept,
}
