"""Contracts of steps in the core: asked before an attempt starts, and of whatever becomes a step's output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.definition import contracts
from runs.engine.state import Step
from runs.engine.turn import Turn

Json = Any


def before(turn: Turn, step: Step) -> dict[str, Json] | None:
    """The breach of what the step requires. A fallback and a question about an earlier attempt are not held to it."""
    plan = turn.plan_of(step)
    if not plan.requires or step.fallback or step.doubt is not None or step.load is not None:
        return None
    return contracts.broken(plan.requires, turn.scope_of(step), step=plan.id, kind="requires")


def after(turn: Turn, step: Step, output: Json) -> Mapping[str, Json] | None:
    """The breach of what the step promised of its output."""
    plan = turn.plan_of(step)
    if plan.output_schema is None and not plan.ensures:
        return None
    return contracts.broken_output(plan, turn.scope_of(step), output)
