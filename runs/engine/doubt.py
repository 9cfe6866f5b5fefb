"""Unknown outcomes: what may be repeated, and asking first whether it happened after all.

A step with `already_done` whose attempt was lost, or failed after it may have acted, is in doubt: its next attempt runs
the question instead of the action. Yes: the step has succeeded and nothing is sent again. No: it is repeated as its
policy says. No answer: asked again, at most as often as the step may be tried, and then a person must say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.definition import expr
from flows.definition.plan import StepPlan
from runs.engine import contracts
from runs.engine import inputs as given
from runs.engine.backoff import may_help, next_try
from runs.engine.settle import fail, unknown
from runs.engine.state import BACKOFF, SUCCEEDED, Step
from runs.engine.turn import Turn

Json = Any


def may_repeat(plan: StepPlan, step: Step, repeatable: bool) -> bool:
    """May an attempt of unknown outcome be sent once more? What the flow declares counts more than what the family
    knows; a fallback's action has declared nothing."""
    if step.load is not None or (step.fallback and plan.fallback is not None and plan.fallback.last_good):
        return True  # it only reads
    if plan.effect is not None and not step.fallback:
        return plan.effect != "once"
    return repeatable or not plan.irreversible


def arises(turn: Turn, step: Step) -> bool:
    """Is there a question to ask about an attempt that may have acted?"""
    asks = turn.plan_of(step).already_done is not None and step.load is None
    return asks and not step.fallback and not turn.is_stopped(step)


def ask(turn: Turn, step: Step, error: Mapping[str, Json], *, rand: float = 0.0, after: float | None = None) -> Step:
    """The step's next attempt is the question."""
    doubt = {"asked": 0, "error": dict(error), "rand": rand, "after": after}
    return turn.make_ready(step, turn.now, doubt=doubt, error=dict(error))


def ended(turn: Turn, step: Step, event: given.AttemptEnded) -> None:
    """The question's attempt has ended, one way or the other."""
    plan, doubt = turn.plan_of(step), step.doubt or {}
    if event.outcome != "done" or plan.already_done is None:
        _no_answer(turn, step, event, dict(event.error or {"class": "internal", "message": "It gave no answer."}))
        return
    scope = {**turn.scope_of(step), "check": {"output": event.output}}
    try:
        happened = expr.truthy(plan.already_done.condition, scope)
        output = expr.render(plan.already_done.output, scope) if happened else None
    except expr.ExprError as error:
        _no_answer(turn, step, event, {"class": "expression", "message": f"`already_done` of step {plan.id}: {error}"})
        return
    turn.cause("step.checked", {**given.encode(event), "happened": happened}, step=step)
    step = turn.put(step, doubt=None, acted=happened)
    if not happened:
        _repeat(turn, step, doubt)
    elif (breach := contracts.after(turn, step, output)) is not None:
        fail(turn, step, breach)
    else:
        step = turn.settle(step, SUCCEEDED, output=output, error=None)
        turn.tell("step.succeeded", step, {"attempt": step.attempt, "output": output, "already_done": True})


def _repeat(turn: Turn, step: Step, doubt: Mapping[str, Json]) -> None:
    policy, error = turn.plan_of(step).retry, doubt["error"]
    at = None
    if may_help(policy, error.get("class", "")) and not turn.is_stopped(step) and step.lost < LOST_IN_A_ROW:
        at = next_try(
            policy, tries=step.tries, first_at=turn.now if step.first_at is None else step.first_at, now=turn.now,
            rand=doubt["rand"], after=doubt["after"],
        )  # fmt: skip
    if at is None:
        fail(turn, step, error)
    else:
        turn.put(turn.make_ready(step, at), status=BACKOFF)


def _no_answer(turn: Turn, step: Step, event: given.AttemptEnded, error: dict[str, Json]) -> None:
    again = _ask_again(turn, step, event.rand)
    name = "step.attempt_failed" if again is None else "step.retrying"
    turn.cause(name, {**given.encode(event), "error": error, **({"wake_at": again} if again else {})}, step=step)
    if again is None:
        unknown(turn, turn.put(step, doubt=None), (step.doubt or {})["error"])


def lost(turn: Turn, step: Step) -> None:
    """The question's attempt was lost; that is recorded by now."""
    if _ask_again(turn, step, 0.0) is None:
        unknown(turn, turn.put(step, doubt=None), (step.doubt or {})["error"])


def _ask_again(turn: Turn, step: Step, rand: float) -> float | None:
    policy, doubt = turn.plan_of(step).retry, step.doubt or {}
    at = (
        None
        if turn.is_stopped(step)
        else next_try(policy, tries=doubt["asked"], first_at=turn.now, now=turn.now, rand=rand)
    )
    if at is not None:
        turn.put(turn.make_ready(step, at), status=BACKOFF)
    return at


#: one bad value must not kill worker after worker (rule 3)
LOST_IN_A_ROW = 3
