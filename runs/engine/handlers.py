"""Handler steps: named by an on_… key, run only when that calls them, one after the other.

A handler step that fails is recorded and changes nothing else; it has no handlers of its own, so nothing loops. Called
while it runs for somebody else, it runs once for both; called after it ended, it runs again as a new pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flows.definition import expr
from runs.engine.fanout import fan_out
from runs.engine.settle import fail, fail_for_good, skip
from runs.engine.state import HANDLING, PENDING, Step
from runs.engine.turn import Turn

Json = Any


def open_handler(turn: Turn, name: str) -> None:
    """Make it ready: for the first time, or as a new pass where it had ended; also where it was only passed over, at
    the end of a run that people reopened: that it was not called is on record for that pass."""
    plan, step = turn.plan.step(name), turn.step(name)
    if step.status != PENDING and not step.settled:
        return
    if step.settled:
        step = turn.put(replace(Step(step.id, step.item), pass_no=step.pass_no + 1, attempt=step.attempt))
    try:
        wanted = plan.condition is None or expr.truthy(plan.condition, turn.scope())
    except expr.ExprError as error:
        fail(turn, step, {"class": "expression", "message": f"`if` of step {name}: {error}"})
        return
    if not wanted:
        skip(turn, step, "if")
    elif plan.for_each is not None:
        fan_out(turn, plan.for_each, step)
    else:
        turn.make_ready(step, turn.now)


def go_on(turn: Turn) -> bool:
    """Open the next handler of whoever waits for one. True when something moved."""
    moved = False
    for step in [s for s in turn.steps.values() if s.calling or s.calls]:
        moved |= _go_on_for(turn, step)
    times = turn.get("times") or {}
    if times.get("calling") or times.get("calls"):
        moved |= _go_on_for_run(turn, times)
    return moved


def _go_on_for(turn: Turn, step: Step) -> bool:
    if step.calling and not turn.step(step.calling).settled:
        return False
    if step.calls:
        turn.put(step, calling=step.calls[0], calls=step.calls[1:])
        open_handler(turn, step.calls[0])
    else:
        step = turn.put(step, calling="")
        if step.status == HANDLING:
            fail_for_good(turn, step, step.error or {})
    return True


def _go_on_for_run(turn: Turn, times: Mapping[str, Json]) -> bool:
    if times["calling"] and not turn.step(times["calling"]).settled:
        return False
    first, rest = next(iter(times["calls"]), ""), list(times["calls"][1:])
    turn.set_run(times={**times, "calling": first, "calls": rest})
    if first:
        open_handler(turn, first)
    return True


def idle(turn: Turn) -> bool:
    """Is no handler under way or waiting its turn?"""
    times = turn.get("times") or {}
    if times.get("calling") or times.get("calls"):
        return False
    return not any(s.calling or s.calls for s in turn.steps.values())


def skip_uncalled(turn: Turn) -> None:
    """At the run's end: nobody needed them."""
    for plan in turn.plan.steps:
        if plan.handler and turn.step(plan.id).status == PENDING:
            skip(turn, turn.step(plan.id), "handler")


def names_of(plans: Iterable[Any]) -> set[str]:
    """Every step that some on_… of these (steps, or the flow) names."""
    keys = ("on_timeout", "on_deadline", "on_sla", "on_stall")
    found = (getattr(plan, key, None) for plan in plans for key in keys)
    return {name for handler in found if handler is not None for name in handler.steps}
