"""How a run moves on: which steps open, which are skipped, when a fan-out joins, when the run ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flows.definition import expr
from flows.definition.plan import StepPlan
from flows.definition.routing import FAMILY as ROUTE
from runs.engine import ending, handlers, joins, routing, timing
from runs.engine.fanout import fan_out, go_on
from runs.engine.settle import fail, skip
from runs.engine.state import (
    BACKOFF,
    CANCELLED,
    FAILED,
    FANNED,
    LOST,
    NO_ITEM,
    PENDING,
    READY,
    RUN_ENDED,
    RUNNING,
    SETTLED,
    SKIPPED,
    UNKNOWN,
    Key,
    Step,
)
from runs.engine.turn import RunEnded, Turn

Json = Any


def advance(turn: Turn) -> None:
    """Open, skip and join until nothing changes, then name the run's status or end it."""
    if turn.get("status") in RUN_ENDED:
        return
    if turn.ending:
        ending.go_on(turn, _open)
        return
    if turn.get("status") == "queued":
        return
    moved = True
    while moved:
        moved = _open_what_can(turn)
    if _is_through(turn):
        handlers.skip_uncalled(turn)
        _finish(turn)
    else:
        name_status(turn)


def _is_through(turn: Turn) -> bool:
    """Every step has settled; of the handler steps, those that were called."""
    for plan, key, _ in reversed(turn.plan.lines):  # what is not through is mostly at the end
        step = turn.steps.get(key)
        if not plan.handler and (step is None or step.status not in SETTLED):
            return False
    return not turn.plan.has_handlers or handlers.idle(turn)


def _open_what_can(turn: Turn) -> bool:
    moved = turn.plan.has_handlers and handlers.go_on(turn)
    steps = turn.steps
    for plan, key, needs in turn.plan.lines:
        step = steps.get(key)
        status = PENDING if step is None else step.status
        if status == FANNED and step is not None:
            moved |= go_on(turn, plan, step)
        elif status == PENDING and not plan.handler and _is_due(turn, plan, needs):
            _open(turn, plan, turn.step(plan.id))
            moved = True
    return joins.withdraw_losers(turn) or moved if turn.plan.joins else moved


def _is_due(turn: Turn, plan: StepPlan, needs: Sequence[Key]) -> bool:
    """Is it known by now whether the step runs?"""
    if plan.join is not None:
        return joins.is_met(turn, plan) or joins.is_out_of_reach(turn, plan)
    steps = turn.steps
    for key in needs:
        step = steps.get(key)
        if step is None or step.status not in SETTLED:
            return False
    return True


# -- opening ---------------------------------------------------------------------------------------------------
def _open(turn: Turn, plan: StepPlan, step: Step) -> None:
    reason = _why_not(turn, plan)
    if reason is None:
        try:
            if plan.condition is not None and not expr.truthy(plan.condition, turn.scope()):
                reason = "if"
        except expr.ExprError as error:
            fail(
                turn,
                step,
                {"class": "expression", "message": f"`if` of step {plan.id}: {error}"},
            )
            return
    if reason is not None:
        skip(turn, step, reason)
        return
    timing.opened(turn, step)
    if plan.family == ROUTE:
        routing.take(turn, plan, step)
    elif plan.for_each is not None:
        fan_out(turn, plan.for_each, step)
    else:
        turn.make_ready(step, turn.now)


def _why_not(turn: Turn, plan: StepPlan) -> str | None:
    """None to go on; else the reason of the skip (rule 8 of the design)."""
    needs = [turn.step(n) for n in plan.needs]
    if plan.id in turn.plan.routed_by and (reason := routing.why_not(turn, plan.id)) is not None:
        return reason
    if plan.join is not None and not joins.is_met(turn, plan):
        return "needs"
    if plan.join is None and plan.when == "success" and not all(joins.satisfies(n) for n in needs):
        return "needs"
    if plan.when == "failure" and not any(_went_wrong(n) for n in needs):
        return "when"
    if plan.failure_of and _classes(turn, plan).isdisjoint(plan.failure_of):
        return "when"
    if not all(_approved(turn, a) for a in plan.protected_by):
        return "approval"
    return None


def _classes(turn: Turn, plan: StepPlan) -> set[str]:
    """The error classes of what went wrong before a step, through steps that were skipped for it."""
    found: set[str] = set()
    todo, seen = list(plan.needs), set[str]()
    while todo:
        step = turn.step(todo.pop())
        if step.id in seen:
            continue
        seen.add(step.id)
        if step.status == SKIPPED and step.reason == "needs":
            todo.extend(turn.plan.step(step.id).needs)
        elif step.status in {FAILED, UNKNOWN} and step.error is not None:
            found.add(step.error["class"])
    return found


def _went_wrong(step: Step) -> bool:
    return step.status in {FAILED, UNKNOWN, CANCELLED} or (step.status == SKIPPED and step.reason == "needs")


def _approved(turn: Turn, approval: str) -> bool:
    return turn.step(approval).granted is not None


def decide_anew(turn: Turn) -> None:
    """What was opened and has not begun is closed again where what it needs is not what it was: people mended that, or
    an approval is asked once more. `advance` then opens it, or skips it, by what holds now. What has begun goes on."""
    changed = {step for step, item in turn.changed if item == NO_ITEM}
    for plan, key, _ in turn.plan.lines:
        step = turn.steps.get(key)
        if step is not None and not plan.handler and not changed.isdisjoint(plan.needs) and _is_unbegun(turn, step):
            for item in turn.items_of(step):
                turn.back_to_pending(item)
            turn.back_to_pending(turn.put(step, items=None, keys=None, opened=0, load=None, started_at=None))


def _is_unbegun(turn: Turn, step: Step) -> bool:
    """Opened, and no attempt of it (or of any of its items) was started in this pass."""
    if step.status == FANNED:
        return step.reason != LOST and all(s.status == PENDING or _is_unbegun(turn, s) for s in turn.items_of(step))
    return step.status == READY and step.first_at is None and not (step.fallback or step.round_no or step.doubt)


# -- ending ----------------------------------------------------------------------------------------------------
def _finish(turn: Turn) -> None:
    bad = next((s for p in turn.plan.steps if not p.handler and _failed_run(turn, (s := turn.step(p.id)))), None)
    if bad is None:
        try:
            output = expr.render(turn.plan.output, turn.scope())
        except expr.ExprError as error:
            _end_failed(turn, {"class": "expression", "message": f"The flow's output: {error}"})
            return
        turn.set_run(status="succeeded", output=output, ended_at=turn.now)
        turn.do(RunEnded())
        turn.tell("run.succeeded", data={"output": output})
        return
    _end_failed(turn, {**(bad.error or {}), "step": bad.id})


def _failed_run(turn: Turn, step: Step) -> bool:
    """An unknown outcome always has; a failure not where a join went on without the step."""
    return step.status == UNKNOWN or (step.status == FAILED and not joins.is_absorbed(turn, step.id))


def _end_failed(turn: Turn, error: Mapping[str, Json]) -> None:
    if "failure" in turn.plan.compensate_on and ending.to_undo(turn):
        ending.begin(turn, to="failed", error=error, compensate=True)
        ending.go_on(turn, _open)
        return
    turn.set_run(status="failed", error=dict(error), ended_at=turn.now)
    turn.do(RunEnded())
    turn.tell("run.failed", data={"error": dict(error)})


def name_status(turn: Turn) -> None:
    """What the run is called while it goes on."""
    statuses = {s.status for s in turn.steps.values()}
    if turn.get("paused") is not None:
        status = "pausing" if RUNNING in statuses else "paused"
        if status == "paused" and turn.get("status") != "paused":
            turn.tell("run.paused")
    else:
        status = "running" if statuses & {READY, RUNNING, BACKOFF} else "waiting"
    turn.set_run(status=status)


def reopen(turn: Turn, step: Step, reason: str) -> Step:
    """A new pass: what the step did before is history, it is asked or done again (rule 2)."""
    fresh = replace(
        Step(step.id, step.item), pass_no=step.pass_no + 1, attempt=step.attempt,
        previous_digest=step.agreed_digest,
    )  # fmt: skip
    timing.opened(turn, fresh)
    fresh = turn.make_ready(fresh, turn.now)
    turn.tell("step.reopened", fresh, {"pass": fresh.pass_no, "reason": reason})
    return fresh
