"""What waits come to: a callback, an event, a child's end, a decision; or the end of their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flows.definition.canonical import digest
from runs.engine import contracts, ending, jobs
from runs.engine import inputs as given
from runs.engine.settle import fail
from runs.engine.state import FAILED, NO_ITEM, SUCCEEDED, WAITING, Step
from runs.engine.turn import CloseWait, Turn

Json = Any


def _answered(turn: Turn, event: given.Answered) -> bool:
    step = turn.step(event.step, event.item)
    if step.status != WAITING or step.pass_no != event.pass_no or step.wait is None:
        return False
    turn.do(CloseWait(step.id, step.item, step.pass_no, "answered", event.used))
    if step.wait["kind"] == jobs.KIND:
        jobs.ended(turn, step, event)
        return True
    turn.cause("step.answered", {"kind": step.wait["kind"], **given.encode(event)}, step=step)
    if step.wait["kind"] == "approval":
        _decided(turn, step, dict(event.payload or {}))
    elif step.wait["kind"] == "child":
        _child_ended(turn, step, event.payload)
    elif event.checked and event.breach is not None:
        fail(turn, step, event.breach)
    elif event.checked:
        turn.settle(step, SUCCEEDED, output=event.payload, error=None)
    else:
        _comes_to(turn, step, event.payload)
    return True


def _comes_to(turn: Turn, step: Step, output: Json) -> None:
    """What a wait gives, where it keeps the step's contract."""
    breach = contracts.after(turn, step, output)
    if breach is not None:
        fail(turn, step, breach)
    else:
        turn.settle(step, SUCCEEDED, output=output, error=None)


def _child_ended(turn: Turn, step: Step, told: Mapping[str, Json]) -> None:
    """`told`: {run, status, output, error} of the child, or {refused: error} where it could not be started."""
    if "refused" in told:
        fail(turn, step, told["refused"])
    elif told["status"] != "succeeded":
        why = (told.get("error") or {}).get("message") or f"It is {told['status']}."
        details = {"run": told["run"], "status": told["status"], "error": told.get("error")}
        said = f"The child run {told['run']} did not succeed: {why}"
        fail(turn, step, {"class": "child_failed", "message": said, "details": details})
    else:
        _comes_to(turn, step, told["output"])


def _time_up(turn: Turn, event: given.TimeUp) -> bool:
    step = turn.step(event.step, event.item)
    if step.status != WAITING or step.pass_no != event.pass_no or step.wait is None:
        return False
    kind, moment = step.wait["kind"], _moment_of(step.wait)
    told = {"kind": kind} if moment is None else {"kind": kind, "which": moment}
    turn.cause("step.time_up", {**told, **given.encode(event)}, step=step)
    turn.do(
        CloseWait(
            step.id,
            step.item,
            step.pass_no,
            "answered" if kind == "timer" else "expired",
        )
    )
    if kind == "timer":
        turn.settle(step, SUCCEEDED, output=None, error=None)
    elif moment is not None:
        _comes_to(turn, step, {"which": moment, "value": None})
    elif kind == "approval" and turn.plan_of(step).config.get("on_expiry", "reject") == "reject":
        _decided(
            turn,
            step,
            {
                "decision": "rejected",
                "by": [],
                "comment": "Nobody decided in time.",
                "expired": True,
            },
        )
    else:
        fail(
            turn,
            step,
            {"class": "expired", "message": f"Nothing answered {step.id} in time."},
        )
    return True


def _moment_of(wait: Mapping[str, Json]) -> str | None:
    """Of several alternatives, the one that the end of the wait is: its moment has come."""
    options = wait["spec"]["of"] if wait["kind"] == "first" else {}
    for name, option in options.items():
        if option["kind"] == "timer" and option["until"] <= wait["until"]:
            return str(name)
    return None


def _decided(turn: Turn, step: Step, answer: dict[str, Json]) -> None:
    """`answer`: {decision, digest, by, comment, form[, actions]}; `actions` only where the form changed them."""
    spec = (step.wait or {}).get("spec", {})
    actions = answer.pop("actions", None) or spec.get("actions", [])
    if answer.get("decision") == "approved":
        turn.settle(step, SUCCEEDED, output=answer, granted=_grants(actions), error=None)
        return
    on_reject = turn.plan_of(step).config.get("on_reject", "stop")
    error = {
        "class": "expired" if answer.get("expired") else "rejected",
        "message": answer.get("comment") or "Rejected.",
        "details": {"by": answer.get("by", [])},
    }
    if on_reject == "continue":
        turn.settle(step, SUCCEEDED, output=answer, error=None)
    elif on_reject == "fail":
        fail(turn, step, {**error, "class": "rejected"})
    else:
        turn.settle(step, FAILED, output=answer, error=error)
        by = ", ".join(answer.get("by", []))
        undo = "cancel" in turn.plan.compensate_on
        reason = f"{step.id} was rejected: {error['message']}"
        ending.begin(turn, to="cancelled", actor=by, reason=reason, compensate=undo)


#: what of an action is executed, and therefore digested; the rest of what a reviewer sees is wording
_ACTION: Final = ("step", "item", "family", "connection", "config")


def _grants(actions: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """{"<step>:<item>": the approved action and its digest}."""
    bare = [{name: a.get(name) for name in _ACTION} for a in actions]
    return {f"{a['step']}:{NO_ITEM if a['item'] is None else a['item']}": {**a, "digest": digest(a)} for a in bare}


HANDLERS: Final[dict[type[Any], Callable[[Turn, Any], bool]]] = {
    given.Answered: _answered,
    given.TimeUp: _time_up,
}
