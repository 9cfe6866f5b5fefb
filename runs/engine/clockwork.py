"""The core's own timers: a step's and the run's deadline and sla (runs/engine/timing.py sets them)."""

from __future__ import annotations

from flows.definition.plan import DEFAULT_DEADLINE, Handler
from runs.engine import ending, timing
from runs.engine import inputs as given
from runs.engine.settle import fail
from runs.engine.state import FANNED, HANDLING, PENDING, RUNNING, WAITING, Step
from runs.engine.turn import CloseWait, Turn


def deadline(turn: Turn, event: given.TimerDue) -> bool:
    """All of a step's attempts, waits and rounds together, or the whole run, took too long."""
    if event.step == "":
        return _run_deadline(turn, event)
    step = turn.step(event.step, event.item)
    if step.settled or step.status in {PENDING, HANDLING} or step.stopping == timing.DEADLINE:
        return False
    turn.cause("step.deadline", given.encode(event), step=step)
    _give_up(turn, step, timing.DEADLINE)
    return True


def sla(turn: Turn, event: given.TimerDue) -> bool:
    """An alert; and what `on_sla` says."""
    if event.step == "":
        return _run_sla(turn, event)
    step = turn.step(event.step, event.item)
    if step.settled or step.status == PENDING or step.late:
        return False
    plan = turn.plan_of(step)
    turn.cause("step.sla_missed", {"sla": plan.sla, **given.encode(event)}, step=step)
    step = turn.put(step, late=True)
    handler = plan.on_sla
    if handler is None or step.status == HANDLING:
        return True
    if handler.kind == "steps":
        timing.call(turn, step, handler.steps)
    else:
        _give_up(turn, step, timing.SLA)
    return True


def _give_up(turn: Turn, step: Step, why: str) -> None:
    """What holds no worker fails now; an attempt in flight must end first. (Of a fan-out, its items have deadlines.)"""
    if step.status in {RUNNING, FANNED}:
        timing.ask_to_stop(turn, step, why)
        return
    if step.status == WAITING:
        nobody_answers = (step.wait or {}).get("kind") == "timer"
        turn.do(CloseWait(step.id, step.item, step.pass_no, "withdrawn" if nobody_answers else "expired"))
    step = turn.put(step, stopping=why)
    fail(turn, step, timing.missed(turn, step, step.error))


# -- the run -----------------------------------------------------------------------------------------------------
def _run_deadline(turn: Turn, event: given.TimerDue) -> bool:
    if turn.ending:
        return False
    seconds = DEFAULT_DEADLINE if turn.plan.deadline is None else turn.plan.deadline
    turn.cause("run.deadline", {"deadline": seconds, **given.encode(event)})
    _time_out(turn, f"The run was not through within its deadline of {seconds:g} s.", turn.plan.on_deadline)
    return True


def _run_sla(turn: Turn, event: given.TimerDue) -> bool:
    if turn.ending or "late" in (turn.get("times") or {}):
        return False
    turn.cause("run.sla_missed", {"sla": turn.plan.sla, **given.encode(event)})
    handler = turn.plan.on_sla
    steps = list(handler.steps) if handler is not None and handler.kind == "steps" else []
    turn.set_run(times={**(turn.get("times") or {}), "late": turn.now, "calling": "", "calls": steps})
    if handler is not None and handler.kind in {"fail", "compensate"}:
        _time_out(turn, f"The run took longer than its sla of {turn.plan.sla or 0:g} s.", handler)
    return True


def _time_out(turn: Turn, message: str, handler: Handler | None) -> None:
    undo = "deadline" in turn.plan.compensate_on or (handler is not None and handler.kind == "compensate")
    steps = handler.steps if handler is not None and handler.kind == "steps" else ()
    error = {"class": timing.DEADLINE, "message": message}
    ending.begin(turn, to="timed_out", reason=message, error=error, compensate=undo, steps=steps)
