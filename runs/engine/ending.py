"""How a run comes to an end before its steps are through: what is in flight is waited for, what was done is undone,
what the flow wants done at the end is done, and then the run ends as it was told to.

`State.ending`: {to, phase, at, actor, reason, error, compensate, steps}; at the end also {undone, not_undone} where
anything was to be undone: lists of {step, item[, error]}. `to`: cancelled | failed | timed_out. Phases:

- stopping: attempts in flight end; everything else has stopped
- undoing: `<step>~` of every step that acted or may have, one at a time, last ended first
- handling: the named handler steps, one at a time
- ended
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from flows.definition.plan import UNDO, StepPlan
from runs.engine.doubt import may_repeat
from runs.engine.fanout import go_on as go_on_with_items
from runs.engine.handlers import skip_uncalled
from runs.engine.settle import cancel_step, unknown
from runs.engine.state import (
    CANCELLED,
    FANNED,
    LOST,
    PENDING,
    RUNNING,
    SUCCEEDED,
    UNKNOWN,
    Step,
)
from runs.engine.turn import ReleaseWork, RunEnded, Turn

Json = Any
#: opens a step: skips it, fans it out or makes it ready
Open = Callable[[Turn, StepPlan, Step], None]

STOPPING: Final = "stopping"
UNDOING: Final = "undoing"
HANDLING: Final = "handling"
ENDED: Final = "ended"


def begin(
    turn: Turn,
    *,
    to: str,
    actor: str = "",
    reason: str = "",
    error: Mapping[str, Json] | None = None,
    compensate: bool = False,
    steps: Sequence[str] = (),
) -> None:
    """From now on the run only comes to its end; `go_on` takes it there. A run that ends already is the caller's to
    refuse. `error`: what the run failed of; `steps`: handler steps to run before the end."""
    ending = {
        "to": to, "phase": STOPPING, "at": turn.now, "actor": actor, "reason": reason,
        "error": dict(error) if error is not None else None, "compensate": compensate, "steps": list(steps),
    }  # fmt: skip
    if turn.get("paused") is not None:  # what a pause held is stopped now, and what undoes it must not be held
        turn.set_run(paused=None)
        turn.do(ReleaseWork())
    turn.set_run(ending=ending, status="cancelling")
    if to == "cancelled":
        turn.set_run(cancel={"actor": actor, "reason": reason, "at": turn.now})
    for _, step in sorted(turn.steps.items()):
        if _holds_nobody(step):
            _stop(turn, step)


def go_on(turn: Turn, open_step: Open) -> None:
    """As far towards the end as it goes by itself."""
    ending = turn.get("ending")
    if ending is None:  # asked for by a version that knew nothing of phases
        cancel = turn.get("cancel") or {}
        ending = {"to": "cancelled", "phase": STOPPING, "compensate": False, "steps": [], "error": None, **cancel}
    if ending["phase"] == STOPPING:
        if any(s.status == RUNNING for s in turn.steps.values()):
            turn.set_run(status="cancelling")
            return
        _close_fan_outs(turn)
        ending = _enter(turn, ending, UNDOING if ending["compensate"] else HANDLING)
    if ending["phase"] == UNDOING:
        if _undo_next(turn):
            _name(turn)
            return
        ending = _enter(turn, ending, HANDLING)
    if _handle_next(turn, ending, open_step):
        _name(turn)
        return
    finish(turn, ending)


def _holds_nobody(step: Step) -> bool:
    """It can be stopped here and now: no worker has to come back first, no items have to be stopped before it."""
    return not step.settled and step.status not in {RUNNING, FANNED}


def _stop(turn: Turn, step: Step) -> None:
    """What nobody has asked yet whether it happened stays unknown where it must not be sent once more (rule 3)."""
    if step.doubt is not None and not may_repeat(turn.plan_of(step), step, repeatable=False):
        unknown(turn, step, step.doubt["error"])
    else:
        cancel_step(turn, step)


def _close_fan_outs(turn: Turn) -> None:
    for _, step in sorted(turn.steps.items()):
        if step.status == FANNED:
            turn.settle(step, CANCELLED)


def _enter(turn: Turn, ending: Mapping[str, Json], phase: str) -> dict[str, Json]:
    ending = {**ending, "phase": phase}
    turn.set_run(ending=ending)
    if phase == UNDOING and (left := to_undo(turn)):
        turn.tell("run.compensating", data={"steps": len(left)})
    return ending


def _name(turn: Turn) -> None:
    """The status while things are undone and handled; a pause holds that, too."""
    if turn.get("paused") is None:
        turn.set_run(status="compensating")
        return
    status = "pausing" if any(s.status == RUNNING for s in turn.steps.values()) else "paused"
    if status == "paused" and turn.get("status") != "paused":
        turn.tell("run.paused")
    turn.set_run(status=status)


# -- undoing ----------------------------------------------------------------------------------------------------
def must_be_undone(turn: Turn, step: Step) -> bool:
    """Did it act, or may it have? A fan-out is undone item by item; what a fork brought with it is its origin's."""
    if step.id.endswith(UNDO) or step.reason == "kept":
        return False
    plan = turn.plan_of(step)
    if plan.compensate is None or (plan.for_each is not None) != (step.item >= 0):
        return False
    return step.status in {SUCCEEDED, UNKNOWN} or step.acted


def undo_of(turn: Turn, step: Step) -> Step:
    """The step run that undoes this pass of `step`; pending where it was not reached."""
    undo = turn.step(step.id + UNDO, step.item)
    return undo if undo.pass_no == step.pass_no else Step(step.id + UNDO, step.item, pass_no=step.pass_no)


def to_undo(turn: Turn) -> list[Step]:
    """What is still to be undone, the last to have ended first."""
    found = [s for s in turn.steps.values() if must_be_undone(turn, s) and not undo_of(turn, s).settled]
    return sorted(found, key=lambda s: (-s.order, s.key))


def _undo_next(turn: Turn) -> bool:
    """True while something is being undone: one step at a time."""
    left = to_undo(turn)
    if not left:
        return False
    undo = undo_of(turn, left[0])
    if undo.status == PENDING:
        before = turn.step(undo.id, undo.item)
        turn.make_ready(replace(undo, attempt=before.attempt), turn.now)
    return True


# -- handling ---------------------------------------------------------------------------------------------------
def _handle_next(turn: Turn, ending: Mapping[str, Json], open_step: Open) -> bool:
    """True while a handler step is under way. One that was stopped, or ran before, is not run again."""
    for step_id in ending["steps"]:
        step = turn.step(step_id)
        if step.status == PENDING:
            open_step(turn, turn.plan.step(step_id), step)
        step = turn.step(step_id)
        if step.status == FANNED:
            go_on_with_items(turn, turn.plan.step(step_id), step)
        if not turn.step(step_id).settled:
            return True
    return False


# -- the end ----------------------------------------------------------------------------------------------------
def finish(turn: Turn, ending: Mapping[str, Json]) -> None:
    """End the run as `ending` says, or as a dead letter where something could not be undone."""
    undone, left = outcome_of_undoing(turn)
    end = {**ending, "phase": ENDED}
    if undone or left:
        end |= {"undone": undone, "not_undone": left}
    error = dict(ending["error"]) if ending.get("error") else None
    status = str(ending["to"])
    if left:
        error, status = _not_undone(undone, left, ending), "failed"
    turn.set_run(status=status, error=error, ending=end, ended_at=turn.now)
    turn.do(RunEnded())
    if status == "cancelled":
        turn.tell("run.cancelled", data={"reason": ending.get("reason", "")}, actor=ending.get("actor", ""))
    else:
        turn.tell(f"run.{status}", data={"error": error})


def outcome_of_undoing(turn: Turn) -> tuple[list[Json], list[Json]]:
    """([{step, item}] that were undone, [{step, item, error}] that were not), in the order it was tried."""
    undone: list[Json] = []
    left: list[Json] = []
    tried = [s for s in turn.steps.values() if must_be_undone(turn, s) and undo_of(turn, s).settled]
    for step in sorted(tried, key=lambda s: (-s.order, s.key)):
        undo, where = undo_of(turn, step), {"step": step.id, "item": step.item if step.item >= 0 else None}
        if undo.status == SUCCEEDED:
            undone.append(where)
        else:
            left.append({**where, "error": dict(undo.error or {"class": "internal", "message": "It was stopped."})})
    return undone, left


def _not_undone(undone: Sequence[Json], left: Sequence[Json], ending: Mapping[str, Json]) -> dict[str, Json]:
    names = ", ".join(w["step"] if w["item"] is None else f"{w['step']}[{w['item']}]" for w in left)
    because = ending.get("error") or {"class": str(ending["to"]), "message": ending.get("reason", "")}
    message = f"Not everything could be undone: {names}. Undo it by hand, or start the flow anew when it is safe."
    details = {"undone": list(undone), "not_undone": list(left), "because": dict(because)}
    return {"class": "compensation", "message": message, "details": details}


def terminate(turn: Turn, *, actor: str, reason: str) -> None:
    """End the run now: nothing is waited for and nothing is undone. What was in flight is cut off: its results change
    nothing any more. `ending.in_flight` and `ending.not_undone` say what may have acted, and what stays done."""
    in_flight: list[Json] = []
    for _, step in sorted(turn.steps.items()):
        if step.status == RUNNING:
            in_flight.append({"step": step.id, "item": step.item if step.item >= 0 else None, "attempt": step.attempt})
            message = f"The run was terminated during attempt {step.attempt} of {step.id}, which may have acted."
            turn.settle(step, CANCELLED, acted=True, error={"class": "unknown_outcome", "message": message})
            turn.tell("step.cancelled", step, {"attempt": step.attempt})
        elif _holds_nobody(step):
            _stop(turn, step)
    _close_fan_outs(turn)
    undone, failed = outcome_of_undoing(turn)
    stays = [{"step": s.id, "item": s.item if s.item >= 0 else None} for s in to_undo(turn)]
    failed = [{"step": f["step"], "item": f["item"]} for f in failed if f not in stays]
    what = {"in_flight": in_flight, "undone": undone, "not_undone": _unique([*failed, *stays])}
    ending = {
        "to": "cancelled", "phase": ENDED, "at": turn.now, "actor": actor, "reason": reason, "error": None,
        "compensate": False, "steps": [], "terminated": True, **what,
    }  # fmt: skip
    cancel = {"actor": actor, "reason": reason, "at": turn.now}
    turn.set_run(status="cancelled", cancel=cancel, ending=ending, paused=None, ended_at=turn.now)
    turn.do(RunEnded())
    turn.tell("run.cancelled", data={"reason": reason, "terminated": True, **what}, actor=actor)


#: what a run says that its workers could not carry on
GIVEN_UP: Final = {
    "class": "internal",
    "message": "Orchestra could not carry this run on; the log of the workers says why.",
}


def give_up(turn: Turn, cause: Mapping[str, Json]) -> None:
    """Fail the run now, whatever state it is in. What was in flight may have acted, and is unknown where it must not be
    sent once more. Nothing is undone; where undoing had begun, `ending` says how far it came."""
    turn.cause("run.failed", {**cause, "error": GIVEN_UP})
    for _, step in sorted(turn.steps.items()):
        if step.status == RUNNING:
            _cut_off(turn, step)
        elif _holds_nobody(step):
            _stop(turn, step)
    _close_fan_outs(turn)
    skip_uncalled(turn)
    ending = turn.get("ending")
    if ending is not None:
        undone, failed = outcome_of_undoing(turn)
        ending = {**ending, "to": "failed", "phase": ENDED, "error": GIVEN_UP, "undone": undone, "not_undone": failed}
    turn.set_run(status="failed", error=GIVEN_UP, ending=ending, paused=None, ended_at=turn.now)
    turn.do(RunEnded())


def _cut_off(turn: Turn, step: Step) -> None:
    message = f"Attempt {step.attempt} of {step.id} was cut off, and may have acted."
    error = {"class": "lost", "message": message}
    if step.id.endswith(UNDO) or step.reason == LOST or may_repeat(turn.plan_of(step), step, repeatable=False):
        turn.settle(step, CANCELLED, acted=True, error=error)
        turn.tell("step.cancelled", step, {"attempt": step.attempt})
    else:
        unknown(turn, turn.put(step, acted=True), error)


def _unique(found: Sequence[Json]) -> list[Json]:
    out: list[Json] = []
    for one in found:
        if one not in out:
            out.append(one)
    return out
