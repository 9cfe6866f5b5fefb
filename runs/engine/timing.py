"""Business time: what a step and a run have left, and what follows when a time was missed.

Timers are rows of their own (SetTimer); one that fires never touches the lease of an attempt: a running attempt is
asked to stop, and what it comes to decides. Handler steps run one after the other, in the order they are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from flows.definition import expr
from flows.definition.plan import DEFAULT_DEADLINE, Handler, Plan, StepPlan
from runs.engine.state import HANDLING, NO_ITEM, RUNNING, SUCCEEDED, State, Step
from runs.engine.turn import Dequeue, SetTimer, Turn

Json = Any
DEADLINE: Final = "deadline"
SLA: Final = "sla"
#: error class -> the key of the step that says what follows
_HANDLERS: Final = {
    "timeout": "on_timeout", "expired": "on_timeout", "stalled": "on_stall", "deadline": "on_deadline", "sla": "on_sla",
}  # fmt: skip
#: seconds an attempt gets at least, so that it can say that its time is up
LEAST: Final = 0.05


# -- what is left ----------------------------------------------------------------------------------------------
def step_ends_at(plan: StepPlan, step: Step) -> float | None:
    """When the step's own deadline is; None where it has none or has not started."""
    return None if plan.deadline is None or step.started_at is None else step.started_at + plan.deadline


def run_ends_at(plan: Plan, state: State) -> float:
    """When the run's deadline is; of one that waits in line counted from its creation, of one that was reopened from
    when it began anew."""
    began = state.created_at if state.started_at is None else state.started_at
    began = float((state.times or {}).get("since", began))
    return began + (DEFAULT_DEADLINE if plan.deadline is None else plan.deadline)


def attempt_time(plan: Plan, state: State, step: Step, timeout: float, now: float) -> float:
    """Seconds this attempt may take: its timeout, and never more than what is left of step and run."""
    ends = [run_ends_at(plan, state)] if state.ending is None else []
    own = step_ends_at(plan.step(step.id), step)
    if own is not None:
        ends.append(own)
    return max(LEAST, min(timeout, *(end - now for end in ends))) if ends else timeout


# -- setting the clocks ------------------------------------------------------------------------------------------
def run_started(turn: Turn) -> None:
    """Explicit times of the run get timers; the default deadline is watched from outside.

    Those of a run that was reopened count anew."""
    if turn.before.started_at is not None:
        turn.set_run(times={"since": turn.now})
    for name, seconds in ((DEADLINE, turn.plan.deadline), (SLA, turn.plan.sla)):
        if seconds is not None:
            turn.do(SetTimer("", NO_ITEM, name, turn.now + seconds))


def opened(turn: Turn, step: Step) -> None:
    """The step became ready: its sla counts from now. Of a fan-out: of all of it."""
    sla = turn.plan_of(step).sla
    if sla is not None and step.item == NO_ITEM:
        turn.do(SetTimer(step.id, step.item, SLA, turn.now + sla))


def attempt_started(turn: Turn, step: Step) -> None:
    """The deadline counts from the first attempt; set again each time, for a step that had been put back."""
    ends = step_ends_at(turn.plan_of(step), step)
    if ends is not None:
        turn.do(SetTimer(step.id, step.item, DEADLINE, ends))


# -- what follows --------------------------------------------------------------------------------------------------
def too_late(turn: Turn, step: Step, at: float) -> bool:
    """Would `at` be past the step's deadline, or was the step given up for its time already?"""
    ends = step_ends_at(turn.plan_of(step), step)
    return step.stopping in {DEADLINE, SLA} or (ends is not None and at >= ends)


def missed(turn: Turn, step: Step, cause: Mapping[str, Json] | None = None) -> dict[str, Json]:
    """The error of a step whose time was up: {class: deadline | sla, message, details}."""
    plan = turn.plan_of(step)
    sla = step.stopping == SLA
    bound = plan.sla if sla else plan.deadline
    error: dict[str, Json] = {
        "class": SLA if sla else DEADLINE,
        "message": f"{step.id} was not done within its {'sla' if sla else 'deadline'} of {bound or 0:g} s.",
    }
    if cause:
        error["message"] += f" The last attempt said: {cause.get('message', '')}"
        error["details"] = {"cause": dict(cause)}
    return error


def handle(turn: Turn, step: Step, error: Mapping[str, Json]) -> bool:
    """What the step's on_… says of this error, where it says something: a value, steps first. False: it fails."""
    handler: Handler | None = getattr(turn.plan_of(step), _HANDLERS.get(error["class"], ""), None)
    if handler is None or turn.is_stopped(step):
        return False
    if handler.kind == "value":
        return _take_value(turn, step, error, handler.value)
    if handler.kind != "steps":
        return False
    step = turn.put(step, status=HANDLING, error=dict(error), wake_at=None, wait=None)
    turn.do(Dequeue(step.id, step.item))
    turn.tell("step.handling", step, {"error": dict(error), "steps": list(handler.steps)})
    call(turn, step, handler.steps)
    return True


def call(turn: Turn, step: Step, names: Sequence[str]) -> Step:
    """Have these handler steps run for it, after those that do already (runs/engine/handlers.py opens them)."""
    fresh = [name for name in names if name != step.calling and name not in step.calls]
    return turn.put(step, calls=(*step.calls, *fresh))


def _take_value(turn: Turn, step: Step, error: Mapping[str, Json], value: Json) -> bool:
    turn.put(step, error=dict(error))  # the value may read why it is needed
    try:
        output = expr.render(value, turn.scope_of(step))
    except expr.ExprError:
        return False  # the step fails with the time it missed
    turn.set_run(degraded=True)
    turn.tell("step.fallback", step, {"error": dict(error)})
    turn.settle(step, SUCCEEDED, output=output, error=dict(error), fallback=True)
    turn.tell("step.succeeded", step, {"attempt": step.attempt, "output": output, "fallback": True})
    return True


def gives_up_at_once(plan: StepPlan, error: Mapping[str, Json]) -> bool:
    """`on_…: fail` says that no fallback stands in; and nothing may start once the deadline is over."""
    key = _HANDLERS.get(error["class"])
    handler: Handler | None = getattr(plan, key) if key else None
    action = plan.fallback is not None and plan.fallback.family is not None
    return (handler is not None and handler.kind != "value") or (error["class"] == DEADLINE and action)


def ask_to_stop(turn: Turn, step: Step, why: str) -> Step:
    """The worker that holds the running attempt learns it within a second or two, and ends it if its family can."""
    return turn.put(step, stopping=why) if step.status == RUNNING else step


def scope_of_round(turn: Turn, step: Step, output: Json) -> dict[str, Json]:
    """What the condition of an `until` may name: its own step as it would be after this round."""
    scope = turn.scope_of(step)
    mine = {"output": output, "status": SUCCEEDED, "error": None, "attempts": step.attempt}
    return {**scope, "steps": {**scope["steps"], step.id: mine}}


def next_round(step: Step) -> Step:
    """A pass of its own; the deadline of the step goes on."""
    return replace(
        step, pass_no=step.pass_no + 1, round_no=step.round_no + 1, tries=0, lost=0, first_at=None, error=None,
        checkpoint=None,
    )  # fmt: skip
