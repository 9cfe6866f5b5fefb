"""What a step does or did, for people to read: from rows that are loaded already, without a lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.definition.plan import Plan
from flows.definition.routing import FAMILY as ROUTE
from flows.resolve import ResolveError
from runs import acting
from runs.engine.state import State
from runs.models import NO_ITEM, Run, StepRun
from runs.rows import step_of
from runs.store import Loaded


def resolved_action(run: Run, plan: Plan, rows: Mapping[str, StepRun], step: str) -> dict[str, Any] | None:
    """The action of a step that was reached, None for another, for a fan-out, and where it cannot be worked out."""
    row = rows.get(step)
    if (
        row is None
        or row.status in ("skipped", "fanned")
        or plan.step(step).family == ROUTE
        or plan.step(step).for_each is not None
    ):
        return None
    steps = {(name, NO_ITEM): _step(r) for name, r in rows.items()}
    state = State(run.pk, run.status, input=run.input, trigger=run.trigger, steps=steps, started_at=run.started_at)
    loaded = Loaded(state, plan, run.flow_id, run.release_id, "", placed=False, flow=run.flow.slug)
    try:
        return acting.action_of(loaded, state.step(step)).to_json()
    except ResolveError:
        return None


def _step(row: StepRun) -> Any:
    return step_of(
        row.step, row.item, row.status, row.pass_no, row.attempt, row.state, row.output, row.started_at, row.ended_at
    )
