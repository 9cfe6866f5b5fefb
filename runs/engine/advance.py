"""How a run moves on: which steps open, which are skipped, when a fan-out joins, when the run ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from flows.definition import expr
from flows.definition.plan import ForEach, StepPlan
from runs.engine.state import (
    BACKOFF,
    CANCELLED,
    FAILED,
    FANNED,
    PENDING,
    READY,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    UNKNOWN,
    WAITING,
    Step,
)
from runs.engine.turn import CloseWait, RunEnded, Turn

Json = Any
MAX_ITEMS: Final = 10_000


def advance(turn: Turn) -> None:
    """Open, skip and join until nothing changes, then name the run's status or end it."""
    if turn.ending:
        _finish_cancel(turn)
        return
    if turn.get("status") in {"queued"} or turn.before.ended:
        return
    moved = True
    while moved:
        moved = _open_what_can(turn)
    if all(turn.step(s.id).settled for s in turn.plan.steps):
        _finish(turn)
    else:
        _name_status(turn)


def _open_what_can(turn: Turn) -> bool:
    moved = False
    for plan in turn.plan.steps:
        step = turn.step(plan.id)
        if step.status == FANNED:
            moved |= _go_on_fanning(turn, plan, step)
        elif step.status == PENDING and all(turn.step(n).settled for n in plan.needs):
            _open(turn, plan, step)
            moved = True
    return moved


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
    elif plan.for_each is not None:
        _fan_out(turn, plan.for_each, step)
    else:
        turn.make_ready(step, turn.now)


def _why_not(turn: Turn, plan: StepPlan) -> str | None:
    """None to go on; else the reason of the skip (rule 8 of the design)."""
    needs = [turn.step(n) for n in plan.needs]
    if plan.when == "success" and not all(_satisfies(n) for n in needs):
        return "needs"
    if plan.when == "failure" and not any(_went_wrong(n) for n in needs):
        return "when"
    if not all(_approved(turn, a) for a in plan.protected_by):
        return "approval"
    return None


def _satisfies(step: Step) -> bool:
    return step.status == SUCCEEDED or (step.status == SKIPPED and step.reason in {"if", "when"})


def _went_wrong(step: Step) -> bool:
    return step.status in {FAILED, UNKNOWN, CANCELLED} or (step.status == SKIPPED and step.reason == "needs")


def _approved(turn: Turn, approval: str) -> bool:
    return turn.step(approval).granted is not None


def skip(turn: Turn, step: Step, reason: str) -> None:
    turn.settle(step, SKIPPED, reason=reason)
    turn.tell("step.skipped", step, {"reason": reason})


# -- fan-out and join ------------------------------------------------------------------------------------------
def _fan_out(turn: Turn, each: ForEach, step: Step) -> None:
    try:
        items = expr.render(each.items, turn.scope())
    except expr.ExprError as error:
        fail(
            turn,
            step,
            {
                "class": "expression",
                "message": f"`for_each` of step {step.id}: {error}",
            },
        )
        return
    if not isinstance(items, list):
        what = type(items).__name__
        fail(
            turn,
            step,
            {
                "class": "expression",
                "message": f"`for_each` of step {step.id} gave a {what}, not a list.",
            },
        )
        return
    if len(items) > MAX_ITEMS:
        message = f"`for_each` of step {step.id} gave {len(items)} items; at most {MAX_ITEMS} are allowed."
        fail(turn, step, {"class": "limit", "message": message})
        return
    step = turn.put(step, status=FANNED, items=tuple(items), opened=0, started_at=turn.now)
    turn.tell("step.fanned", step, {"items": len(items)})
    _go_on_fanning(turn, turn.plan_of(step), step)


def _go_on_fanning(turn: Turn, plan: StepPlan, parent: Step) -> bool:
    """Open further items and join when all have settled. True when the parent itself settled."""
    each = plan.for_each
    if each is None or parent.items is None:
        return False
    items = turn.items_of(parent)
    bad = next((s for s in items if s.status in {FAILED, UNKNOWN, CANCELLED}), None)
    stop = bad is not None and each.on_item_error == "fail"
    active = [s for s in items if not s.settled]
    if stop:
        for item in active:
            if item.status != RUNNING:
                cancel_step(turn, item)
        active = [s for s in active if s.status == RUNNING]
    else:
        parent, active = _open_items(turn, each, parent, active)
    if active:
        return False
    if stop and bad is not None:
        error = {
            **(bad.error or {"class": "internal", "message": "An item failed."}),
            "item": bad.item,
        }
        fail(turn, parent, error)
        return True
    outputs = [s.output if s.status == SUCCEEDED else None for s in turn.items_of(parent)]
    turn.settle(parent, SUCCEEDED, output=outputs, items=None)
    turn.tell("step.joined", parent, {"items": len(outputs)})
    return True


def _open_items(turn: Turn, each: ForEach, parent: Step, active: list[Step]) -> tuple[Step, list[Step]]:
    total = len(parent.items or ())
    room = (each.max_parallel or total) - len(active)
    upto = min(total, parent.opened + max(room, 0))
    for index in range(parent.opened, upto):
        active.append(turn.make_ready(Step(parent.id, index), turn.now))
    if upto != parent.opened:
        parent = turn.put(parent, opened=upto)
    return parent, active


# -- failing ---------------------------------------------------------------------------------------------------
#: a person or an unknown outcome is not something a fallback may paper over
_NO_FALLBACK: Final = frozenset({"unknown_outcome", "rejected"})


def fail(turn: Turn, step: Step, error: Mapping[str, Json]) -> None:
    """The step's attempts are spent: its fallback takes over, or it has failed."""
    fallback = turn.plan_of(step).fallback
    if fallback is None or step.fallback or turn.ending or error["class"] in _NO_FALLBACK:
        turn.settle(step, FAILED, error=dict(error))
        turn.tell("step.failed", step, {"attempt": step.attempt, "error": dict(error)})
        return
    turn.set_run(degraded=True)
    turn.tell("step.fallback", step, {"error": dict(error)})
    if fallback.family is None:
        turn.settle(step, SUCCEEDED, output=fallback.value, error=dict(error), fallback=True)
        turn.tell(
            "step.succeeded",
            step,
            {"attempt": step.attempt, "output": fallback.value, "fallback": True},
        )
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


def cancel_step(turn: Turn, step: Step, reason: str = "withdrawn") -> None:
    """Stop what holds no worker. A running attempt is not touched: its worker must come back first."""
    if step.status == WAITING:
        turn.do(CloseWait(step.id, step.item, step.pass_no, reason))
    turn.settle(step, CANCELLED)
    turn.tell("step.cancelled", step)


# -- ending ----------------------------------------------------------------------------------------------------
def start_cancel(turn: Turn, cancel: Mapping[str, Json]) -> None:
    turn.set_run(cancel=dict(cancel), status="cancelling")
    for step in list(turn.steps.values()):
        if step.status in {READY, BACKOFF, WAITING, PENDING}:
            cancel_step(turn, step)


def _finish_cancel(turn: Turn) -> None:
    if any(s.status == RUNNING for s in turn.steps.values()):
        turn.set_run(status="cancelling")
        return
    for step in list(turn.steps.values()):
        if step.status == FANNED:
            turn.settle(step, CANCELLED, items=None)
    cancel = turn.get("cancel") or {}
    turn.set_run(status="cancelled", ended_at=turn.now)
    turn.do(RunEnded())
    turn.tell(
        "run.cancelled",
        data={"reason": cancel.get("reason", "")},
        actor=cancel.get("actor", ""),
    )


def _finish(turn: Turn) -> None:
    bad = next(
        (s for p in turn.plan.steps if (s := turn.step(p.id)).status in {FAILED, UNKNOWN}),
        None,
    )
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


def _end_failed(turn: Turn, error: Mapping[str, Json]) -> None:
    turn.set_run(status="failed", error=dict(error), ended_at=turn.now)
    turn.do(RunEnded())
    turn.tell("run.failed", data={"error": dict(error)})


def _name_status(turn: Turn) -> None:
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
    fresh = replace(Step(step.id, step.item), pass_no=step.pass_no + 1, attempt=step.attempt)
    fresh = turn.make_ready(fresh, turn.now)
    turn.tell("step.reopened", fresh, {"pass": fresh.pass_no, "reason": reason})
    return fresh
