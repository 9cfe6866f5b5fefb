"""Routes: the first rule that holds is chosen as soon as the step opens; no attempt, no worker."""

from __future__ import annotations

from typing import Any

from flows.definition import expr, routing
from flows.definition.plan import StepPlan
from runs.engine.joins import satisfies
from runs.engine.settle import fail
from runs.engine.state import SUCCEEDED, Step
from runs.engine.turn import Turn

Json = Any


def take(turn: Turn, plan: StepPlan, step: Step) -> None:
    """Choose, and end the step with `{rule, name, value}`; rule 0 is the default."""
    try:
        scope = expr.Scope.of(turn.scope())
        number = routing.choose(plan.config, lambda condition: expr.truthy(condition, scope))
        value = expr.render(routing.branches(plan.config)[number].get("value"), scope)
    except expr.ExprError as error:
        fail(turn, step, {"class": "expression", "message": f"`route` of step {plan.id}: {error}"})
        return
    output = {"rule": number, "name": routing.name_of(plan.config, number), "value": value}
    step = turn.settle(step, SUCCEEDED, output=output, started_at=turn.now, error=None)
    turn.tell("step.routed", step, {**output, "to": list(routing.leads_to(plan.config, number))})
    turn.tell("step.succeeded", step, {"attempt": step.attempt, "output": output})


def why_not(turn: Turn, step_id: str) -> str | None:
    """None where every route that names the step in some rule has chosen it; "needs" where one of them could not
    choose, "route" where it chose otherwise, or chose nothing because it was skipped itself."""
    routes = turn.plan.routed_by.get(step_id, ())
    if not all(satisfies(turn.step(r.id)) for r in routes):
        return "needs"
    chosen = all(_leads(turn.step(r.id), r, step_id) for r in routes)
    return None if chosen else "route"


def _leads(taken: Step, route: StepPlan, step_id: str) -> bool:
    return taken.status == SUCCEEDED and step_id in routing.leads_to(route.config, taken.output["rule"])
