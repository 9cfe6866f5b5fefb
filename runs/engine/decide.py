"""decide(plan, state, input, now) -> Decision. It alone knows what happens next.

Pure: no clock, no randomness, no I/O. The same arguments give the same decision for ever, which is what dry runs,
replays and the tests rely on. An input that has no place (late, duplicate, fenced off) is refused and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flows.definition.canonical import digest
from flows.definition.plan import UNDO, Plan, StepPlan
from flows.definition.plan import Retry as RetryPolicy
from runs.engine import clockwork, contracts, doubt, ending, jobs, repair, rounds, timing
from runs.engine import inputs as given
from runs.engine.advance import advance, name_status, reopen
from runs.engine.backoff import may_help, next_try
from runs.engine.doubt import LOST_IN_A_ROW
from runs.engine.fanout import spread
from runs.engine.settle import fail, unknown
from runs.engine.state import (
    BACKOFF,
    CANCELLED,
    CLAIMABLE,
    FAILED,
    LOST,
    NO_ITEM,
    RUN_HELD,
    RUNNING,
    SUCCEEDED,
    WAITING,
    State,
    Step,
)
from runs.engine.turn import CloseWait, Decision, HoldWork, OpenWait, ReleaseWork, Turn

Json = Any


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
    begun = isinstance(event, given.AttemptStarted) and turn.step(event.step, event.item).status == RUNNING
    if begun and not turn.ending:
        name_status(turn)  # nothing opens, ends or joins because an attempt starts (one that is refused fails its step)
    else:
        advance(turn)
    return turn.decision()


# -- the run -----------------------------------------------------------------------------------------------------
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


# -- attempts ------------------------------------------------------------------------------------------------------
def _attempt_started(turn: Turn, event: given.AttemptStarted) -> bool:
    step = turn.step(event.step, event.item)
    if turn.get("status") in RUN_HELD or step.status not in CLAIMABLE or not _covered(turn, step, event):
        return False
    breach = contracts.before(turn, step)
    if breach is not None:
        turn.cause("step.refused", given.encode(event), step=step)
        fail(turn, step, breach)
        return True
    asks = step.doubt is not None
    step = turn.put(
        step,
        status=RUNNING,
        attempt=step.attempt + 1,
        tries=step.tries if asks else step.tries + 1,
        doubt={**step.doubt, "asked": step.doubt["asked"] + 1} if step.doubt is not None else None,
        first_at=turn.now if step.first_at is None else step.first_at,
        started_at=turn.now if step.started_at is None else step.started_at,
        wake_at=None,
        ended_at=None,
        stopping="",
    )
    timing.attempt_started(turn, step)
    data = {"attempt": step.attempt, "pass": step.pass_no, **({"asks": True} if asks else {}), **given.encode(event)}
    turn.cause("step.started", data, step=step)
    return True


def _covered(turn: Turn, step: Step, event: given.AttemptStarted) -> bool:
    """A protected action starts only with the very digest that was approved (rules 6 and 8)."""
    wanted = turn.plan_of(step).protected_by
    # lint lets nothing that acts stand in for a protected step, nor ask whether it happened
    if not wanted or step.fallback or step.doubt is not None or step.load is not None:
        return True
    shown = event.digests or {}
    for approval in wanted:
        granted = (turn.step(approval).granted or {}).get(f"{step.id}:{step.item}")
        if not granted or shown.get(approval) != granted["digest"]:
            return False
    return True


def _attempt_ended(turn: Turn, event: given.AttemptEnded) -> bool:
    step = turn.step(event.step, event.item)
    if step.status != RUNNING or step.attempt != event.attempt:
        return False  # fenced off: somebody else holds the step by now
    if event.checkpoint is not None:
        step = turn.put(step, checkpoint=event.checkpoint)
    if step.reason == LOST:
        turn.cause("step.discarded", given.encode(event), step=step)
        turn.settle(step, CANCELLED, error=None)
    elif step.doubt is not None:
        doubt.ended(turn, step, event)
    else:
        _OUTCOMES[event.outcome](turn, turn.put(step, lost=0), event)
    return True


def _done(turn: Turn, step: Step, event: given.AttemptEnded) -> None:
    breach = event.breach if event.checked else contracts.after(turn, step, event.output)
    if breach is not None:
        _broken(turn, step, event, breach)
        return
    if turn.plan_of(step).until is not None and not step.fallback:
        rounds.ended(turn, step, event, event.output)
        return
    turn.cause("step.succeeded", given.encode(event), step=step)
    # the error a fallback stands in for stays on record
    turn.settle(step, SUCCEEDED, output=event.output, error=step.error if step.fallback else None, stale=event.stale)


def _broken(turn: Turn, step: Step, event: given.AttemptEnded, breach: Mapping[str, Json]) -> None:
    """It did what it does, but not what it promised: tried again only where the flow asks for that."""
    plan = turn.plan_of(step)
    step = turn.put(step, acted=True)
    if "contract" in plan.retry.on and doubt.may_repeat(plan, step, event.repeatable):
        _again(turn, step, event, dict(breach))
    else:
        turn.cause("step.attempt_failed", given.encode(event), step=step)
        fail(turn, step, breach)


def _items(turn: Turn, step: Step, event: given.AttemptEnded) -> None:
    turn.cause("step.loaded", given.encode(event), step=step)
    each = turn.plan_of(step).for_each
    assert each is not None  # noqa: S101  only a fan-out loads its items
    spread(turn, each, turn.put(step, load=None, tries=0), event.output)


def _failed(turn: Turn, step: Step, event: given.AttemptEnded) -> None:
    turn.cause("step.attempt_failed", given.encode(event), step=step)
    fail(turn, step, event.error or {})


def _retry(turn: Turn, step: Step, event: given.AttemptEnded) -> None:
    plan = turn.plan_of(step)
    error = dict(event.error or {})
    step = turn.put(step, acted=step.acted or event.acted)
    if event.acted and doubt.arises(turn, step):
        turn.cause("step.retrying", {**given.encode(event), "wake_at": turn.now}, step=step)
        doubt.ask(turn, step, error, rand=event.rand, after=event.after)
    elif event.acted and not doubt.may_repeat(plan, step, event.repeatable):
        turn.cause("step.attempt_failed", given.encode(event), step=step)
        unknown(turn, step, error)
    elif error.get("class") == "cancelled":  # it was asked to stop, and did
        turn.cause("step.attempt_failed", given.encode(event), step=step)
        turn.settle(step, CANCELLED, error=error)
        turn.tell("step.cancelled", step)
    else:
        _again(turn, step, event, error)


def _again(turn: Turn, step: Step, event: given.AttemptEnded, error: dict[str, Json]) -> None:
    """Try again as the policy says, or fail."""
    plan, at = turn.plan_of(step), None
    if may_help(_policy(plan), error.get("class", "")) and not turn.is_stopped(step):
        at = next_try(
            _policy(plan),
            tries=step.tries,
            first_at=turn.now if step.first_at is None else step.first_at,
            now=turn.now,
            rand=event.rand,
            after=event.after,
        )
    if timing.too_late(turn, step, turn.now if at is None else at):
        turn.cause("step.attempt_failed", given.encode(event), step=step)
        fail(turn, step, timing.missed(turn, step, error))
        return
    if at is None:
        turn.cause("step.attempt_failed", given.encode(event), step=step)
        fail(turn, step, error)
        return
    turn.make_ready(step, at, error=error)
    turn.put(turn.step(step.id, step.item), status=BACKOFF)
    turn.cause("step.retrying", {**given.encode(event), "error": error, "wake_at": at}, step=step)


def _policy(plan: StepPlan) -> RetryPolicy:
    return plan.retry


def _wait(turn: Turn, step: Step, event: given.AttemptEnded) -> None:
    wait = dict(event.wait or {})
    until = wait.get("until")
    if until is None and wait.get("timeout") is not None:
        until = turn.now + wait["timeout"]
    turn.cause(
        "step.waiting",
        {**given.encode(event), "until": until, "kind": wait.get("kind")},
        step=step,
    )
    if turn.is_stopped(step):
        turn.settle(step, CANCELLED)
        return
    if step.id.endswith(UNDO):
        fail(turn, step, {"class": "internal", "message": "What undoes a step cannot wait for anything."})
        return
    if timing.too_late(turn, step, turn.now):
        fail(turn, step, timing.missed(turn, step))
        return
    spec = dict(wait.get("spec") or {})
    turn.put(step, status=WAITING, wait={"kind": wait["kind"], "until": until, "spec": spec})
    turn.do(OpenWait(step.id, step.item, step.pass_no, wait["kind"], until, spec))


def _lost(turn: Turn, event: given.AttemptLost) -> bool:
    step = turn.step(event.step, event.item)
    if step.status != RUNNING or step.attempt != event.attempt:
        return False
    turn.cause("step.handed_back" if event.handed_back else "step.lost", given.encode(event), step=step)
    left = step.checkpoint if event.checkpoint is None else event.checkpoint
    step = turn.put(step, lost=step.lost + (0 if event.handed_back else 1), acted=True, checkpoint=left)
    plan = turn.plan_of(step)
    error = {
        "class": "lost",
        "message": f"Attempt {step.attempt} of {step.id} was lost with its worker.",
    }
    if step.reason == LOST:
        turn.settle(step, CANCELLED, error=error)
    elif step.doubt is not None:
        doubt.lost(turn, step)
    elif doubt.arises(turn, step):
        doubt.ask(turn, step, error)
    elif not doubt.may_repeat(plan, step, event.repeatable):
        unknown(turn, step, error)
    elif turn.is_stopped(step):
        turn.settle(step, CANCELLED, error=error)
    elif timing.too_late(turn, step, turn.now):
        fail(turn, step, timing.missed(turn, step, error))
    elif event.handed_back:
        turn.make_ready(step, turn.now, tries=max(0, step.tries - 1))
    elif step.lost >= LOST_IN_A_ROW or step.tries >= _policy(plan).max_attempts:
        fail(turn, step, error)
    else:
        turn.make_ready(step, turn.now, error=error)
    return True


def _turned_away(turn: Turn, event: given.TurnedAway) -> bool:
    step = turn.step(event.step, event.item)
    waits = step.id.endswith(UNDO) or step.doubt is not None  # what undoes, what may have happened: not called failed
    if turn.get("status") in RUN_HELD or step.status not in CLAIMABLE or waits:
        return False
    turn.cause("step.turned_away", given.encode(event), step=step)
    fail(turn, step, event.error or {})
    return True


def _action_changed(turn: Turn, event: given.ActionChanged) -> bool:
    step, approval = turn.step(event.step, event.item), turn.step(event.approval)
    protects = event.approval in turn.plan_of(step).protected_by
    if turn.get("status") in RUN_HELD or step.status not in CLAIMABLE or not protects or approval.granted is None:
        return False
    turn.cause("step.action_changed", given.encode(event), step=step)
    for other in list(turn.steps.values()):
        # what is asked about is not about to act
        asks = other.doubt is not None
        if other.status in CLAIMABLE and not asks and event.approval in turn.plan_of(other).protected_by:
            turn.back_to_pending(other)
    reopen(turn, approval, "what it protects is not what was approved")
    return True


# -- waits -------------------------------------------------------------------------------------------------------
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


def _timer_due(turn: Turn, event: given.TimerDue) -> bool:
    handler = _TIMERS.get(event.name)
    return handler is not None and handler(turn, event)


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


_OUTCOMES: Final[dict[str, Callable[[Turn, Step, given.AttemptEnded], None]]] = {
    "done": _done,
    "retry": _retry,
    "fail": _failed,
    "wait": _wait,
    "items": _items,
}
#: by the timer's name; each records the cause and says whether it had a place
_TIMERS: Final[dict[str, Callable[[Turn, given.TimerDue], bool]]] = {
    timing.DEADLINE: clockwork.deadline,
    timing.SLA: clockwork.sla,
}
_HANDLERS: Final[dict[type[Any], Callable[[Turn, Any], bool]]] = {
    given.Started: _started,
    given.AttemptStarted: _attempt_started,
    given.AttemptEnded: _attempt_ended,
    given.AttemptLost: _lost,
    given.ActionChanged: _action_changed,
    given.TurnedAway: _turned_away,
    given.Answered: _answered,
    given.TimeUp: _time_up,
    given.TimerDue: _timer_due,
    given.OutputKept: _output_kept,
    given.PauseRequested: _pause,
    given.Resumed: _resume,
    given.CancelRequested: _cancel,
    given.TerminateRequested: _terminate,
    given.GivenUp: _given_up,
    **repair.HANDLERS,
}
