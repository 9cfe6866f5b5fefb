"""Attempts at steps: they start, end in one of five ways, are lost with their worker, or are turned away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flows.definition.plan import UNDO
from runs.engine import contracts, doubt, rounds, timing
from runs.engine import inputs as given
from runs.engine.advance import reopen
from runs.engine.backoff import may_help, next_try
from runs.engine.doubt import LOST_IN_A_ROW
from runs.engine.fanout import spread
from runs.engine.settle import fail, unknown
from runs.engine.state import BACKOFF, CANCELLED, CLAIMABLE, LOST, RUN_HELD, RUNNING, SUCCEEDED, WAITING, Step
from runs.engine.turn import OpenWait, Turn

Json = Any


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
    if may_help(plan.retry, error.get("class", "")) and not turn.is_stopped(step):
        at = next_try(
            plan.retry,
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
    elif step.lost >= LOST_IN_A_ROW or step.tries >= plan.retry.max_attempts:
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


_OUTCOMES: Final[dict[str, Callable[[Turn, Step, given.AttemptEnded], None]]] = {
    "done": _done,
    "retry": _retry,
    "fail": _failed,
    "wait": _wait,
    "items": _items,
}
HANDLERS: Final[dict[type[Any], Callable[[Turn, Any], bool]]] = {
    given.AttemptStarted: _attempt_started,
    given.AttemptEnded: _attempt_ended,
    given.AttemptLost: _lost,
    given.ActionChanged: _action_changed,
    given.TurnedAway: _turned_away,
}
