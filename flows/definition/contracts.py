"""What a step promises: checks of what goes in and of what came out, and the shape of its output. Pure.

A breach is an error of class `contract`: `{class, message, details: {contract, expression | problems}}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from flows.definition import expr
from flows.definition.inputs import JsonError, validate_input
from flows.definition.plan import Check, StepPlan

Json = Any

BREACH: Final = "contract"
_SAID: Final = {
    "requires": "What {} requires does not hold",
    "ensures": "What {} ensures does not hold",
}


def broken(checks: Iterable[Check], scope: Mapping[str, Json], *, step: str, kind: str) -> dict[str, Json] | None:
    """The breach of the first check that does not hold, or cannot be worked out. `kind`: requires | ensures."""
    for check in checks:
        try:
            if expr.truthy(check.condition, scope):
                continue
            said = check.message or check.condition
        except expr.ExprError as error:
            said = f"{check.message or check.condition} ({error})"
        message = f"{_SAID[kind].format(step)}: {said}".rstrip(".") + "."
        return {"class": BREACH, "message": message, "details": {BREACH: kind, "expression": check.condition}}
    return None


def misfit(schema: Mapping[str, Json], value: Json, *, step: str) -> dict[str, Json] | None:
    """The breach of a value that its schema refuses; `details.problems` names each place: [{path, message}]."""
    try:
        problems = validate_input(schema, value)
    except JsonError as error:
        problems = [{"path": [], "message": str(error)}]
    if not problems:
        return None
    first = problems[0]
    where = ".".join(map(str, first["path"]))
    message = f"The output of {step} breaks its schema: {f'{where}: ' if where else ''}{first['message']}."
    return {"class": BREACH, "message": message, "details": {BREACH: "output", "problems": problems}}


def broken_output(plan: StepPlan, scope: Mapping[str, Json], output: Json) -> dict[str, Json] | None:
    """The breach of what came out of a step: its schema first, then what it ensures."""
    if plan.output_schema is not None and (found := misfit(plan.output_schema, output, step=plan.id)) is not None:
        return found
    if not plan.ensures:
        return None
    own = {"output": output, "status": "succeeded", "error": None}
    steps = dict(scope.get("steps") or {})
    steps[plan.id] = {**steps.get(plan.id, {}), **own}
    return broken(plan.ensures, {**scope, "steps": steps}, step=plan.id, kind="ensures")
