"""Values too large for a run's state: what is read back of them, and what the core put together and is now one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flows.definition import contracts
from flows.definition.routing import FAMILY as ROUTE
from flows.resolve import load_kept
from resources.errors import OrchestraError
from runs import acting
from runs.engine import inputs as given
from runs.engine import jobs
from runs.engine.fanout import REF
from runs.engine.state import NO_ITEM, State, Step
from runs.engine.turn import Decision
from runs.large import storable
from runs.store import Loaded

Json = Any
Decide = Callable[[State, given.Input, float], Decision]


def is_ref(value: Json) -> bool:
    return isinstance(value, dict) and REF in value


def judged(loaded: Loaded, step: Step, whole: Json) -> Mapping[str, Json] | None:
    """The breach of a contract by an output that the state keeps only a reference to."""
    return contracts.broken_output(loaded.plan.step(step.id), acting.scope_for(loaded, step), whole)


def answered(loaded: Loaded, step: Step, payload: Json, used: int | None = None) -> given.Answered:
    """An answer as the core takes it; a large one is looked at here, where it can be read."""
    event = given.Answered(step.id, step.item, step.pass_no, payload, used=used)
    plan = loaded.plan.step(step.id)
    if (step.wait or {}).get("kind") == jobs.KIND:
        event = replace(event, rand=random.random())  # noqa: S311  jitter
        payload = payload.get("output")
    if not is_ref(payload) or (plan.output_schema is None and not plan.ensures):
        return event
    try:
        breach = judged(loaded, step, load_kept(payload, loaded.state.run_id))
    except OrchestraError as error:
        breach = {"class": contracts.BREACH, "message": f"The answer to {step.id} cannot be read: {error.message}"}
    return replace(event, breach=breach, checked=True)


def keep_apart(loaded: Loaded, decisions: list[Decision], decide: Decide, now: float) -> None:
    """Store the large outputs that the core put together, and tell the core: the history then gives the same state."""
    before, made = loaded.state, list[tuple[str, int, Json]]()
    after = decisions[-1].state
    for key in sorted(set().union(*(d.changed for d in decisions))):
        step = after.steps[key]
        if step.settled and _is_made(loaded, step) and step.output is not before.step(*key).output:
            made.append((*key, step.output))
    if after.ended and after.output is not None and after.output is not before.output:
        made.append(("", NO_ITEM, after.output))
    for step_id, item, output in made:
        ref, _ = storable(output, before.run_id, step_id, loaded.folder)
        if ref is not output:
            decisions[:] = [_slim(d, output, ref) for d in decisions]
            decisions.append(decide(decisions[-1].state, given.OutputKept(step_id, item, ref), now))


def _is_made(loaded: Loaded, step: Step) -> bool:
    """By the core, not by an attempt: a join's list, a route's value, a fallback's, what `already_done` said."""
    plan = loaded.plan.step(step.id)
    joined = plan.for_each is not None and step.item == NO_ITEM
    return step.output is not None and (
        joined or plan.family == ROUTE or step.fallback or plan.already_done is not None
    )


def _slim(decision: Decision, output: Json, ref: Json) -> Decision:
    """What follows from an input says the reference, too; an input itself stays as it came."""
    events = tuple(
        replace(e, data={**e.data, "output": ref}) if not e.cause and e.data.get("output") is output else e
        for e in decision.events
    )
    return replace(decision, events=events)
