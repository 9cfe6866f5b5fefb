"""Variables: values that flows read as `vars.<name>`, set beside the flows, frozen when a run starts.

Workspace variables are an admin's to set. Of a flow, authors of its folder set draft values, operators live ones; both
may say what it is. They are never secrets: whoever sees a run sees them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.db.models import Q, QuerySet

from flows.actions import visible_flow
from flows.definition.inputs import JsonError, schema_problems, validate_input
from flows.definition.lint_text import looks_secret
from flows.definition.sensitive import KEY, MARK, blank, holds_mark, places, restored
from flows.models import Flow, Variable
from resources import audit
from resources.access import Actor, can, folder_filter, require, require_some_role
from resources.errors import BadInput, NotFound
from resources.fields import dumps
from resources.models import Role

Json = Any
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
MAX_BYTES: Final = 64 * 1024
KINDS: Final = ("live", "draft")


def frozen(flow: Flow, declared: Mapping[str, Json], *, draft: bool) -> dict[str, Json]:
    """The values of the variables that a flow declares, for a run that starts now: the flow's own, else the
    workspace's, else the default. `draft`: the draft value first, where there is one.

    One query. Raises BadInput `missing_variable`, `invalid_variable`, `sensitive_variable` with [{path, message}] in
    details.
    """
    rows = Variable.objects.filter(Q(flow=flow) | Q(flow__isnull=True), name__in=list(declared)).order_by("flow_id")
    found: dict[str, Json] = {}
    for row in sorted(rows, key=lambda row: row.flow_id is not None):  # the flow's own last: they win
        for kind in ("live", "draft") if draft else ("live",):
            if kind in row.values:
                found[row.name] = row.values[kind]
                _check_hidden(row, declared[row.name], row.values[kind])
    for name, schema in declared.items():
        if name not in found and "default" in schema:
            found[name] = schema["default"]
    _check_all(declared, found)
    return found


def _check_hidden(row: Variable, declared: Json, value: Json) -> None:
    """What the variable's type marks, the flow has to mark, too: its declaration is what runs go by."""
    there = set(places(declared, value))
    if any(not any(place[:n] in there for n in range(len(place) + 1)) for place in places(row.schema, value)):
        raise BadInput(
            f"The variable {row.name} is sensitive, and the flow would show it.",
            code="sensitive_variable",
            hint=f"Write `{KEY}: true` where the flow declares it under `vars`.",
            details=[{"path": ["vars", row.name], "message": f"Its type says {KEY}."}],
        )


def _check_all(declared: Mapping[str, Json], found: Mapping[str, Json]) -> None:
    missing = [name for name in declared if name not in found]
    if missing:
        raise BadInput(
            f"No value is set for the variable {missing[0]}.",
            code="missing_variable",
            hint="Set it under Connections, Variables, or give it a default in the flow.",
            details=[{"path": ["vars", name], "message": "No value is set."} for name in missing],
        )
    for name, schema in declared.items():
        for problem in validate_input(schema, found[name]):
            raise BadInput(
                f"The value of the variable {name} does not fit what the flow declares: {problem['message']}.",
                code="invalid_variable",
                hint="Change the value, or the flow.",
                details=[{**problem, "path": ["vars", name, *problem["path"]]}],
            )


def visible(actor: Actor) -> QuerySet[Variable]:
    """Those of the workspace, and of flows whose folder the actor views. Raises NotAllowed for who has no role."""
    require_some_role(actor)
    seen = Q(flow__isnull=True) | Q(flow__in=Flow.objects.filter(folder_filter(actor, Role.VIEWER)))
    return Variable.objects.select_related("flow", "updated_by").filter(seen).order_by("name", "flow__slug")


def get(actor: Actor, name: str, flow: str = "") -> Variable:
    """Raises NotFound."""
    owner = visible_flow(actor, flow) if flow else None  # first: to who may not view it, it is not there
    rows = visible(actor).filter(name=name) if NAME.fullmatch(name) else Variable.objects.none()
    row = rows.filter(flow=owner).first()
    if row is None:
        raise NotFound(
            f"There is no variable {name}{f' of the flow {flow}' if flow else ''}.", code="variable_not_found"
        )
    return row


def set_variable(
    *, actor: Actor, name: str, flow: str = "", schema: Mapping[str, Json], values: Mapping[str, Json],
    description: str = "",
) -> tuple[Variable, list[str]]:  # fmt: skip
    """Make or replace a variable; a value left out of `values` ("live", "draft") is not set. Gives it, and warnings.

    Raises NotFound (the flow), NotAllowed, BadInput with [{path, message}] in details.
    """
    owner = visible_flow(actor, flow) if flow else None
    values = _kept(Variable.objects.filter(flow=owner, name=name[:63]).first(), schema, values)
    _check(name, schema, values, description)
    with transaction.atomic():
        row = Variable.objects.select_for_update().filter(flow=owner, name=name).first()
        _require(actor, owner, row, values)
        before = shown(row) if row is not None else {}
        row = row or Variable(flow=owner, name=name)
        row.schema, row.values, row.description, row.updated_by = dict(schema), dict(values), description, actor.user
        row.save()
        data = {"flow": flow, "before": before, "after": shown(row), "schema": row.schema}
        audit.record(actor=actor, action="variable.set", object_type="variable", object_id=name, data=data)
    risky = [kind for kind in KINDS if kind in values and looks_secret(dumps(values[kind]))]
    return row, [f"The {kind} value {_REVEALING}" for kind in risky]


def shown(row: Variable) -> dict[str, Json]:
    """Its values without what its type marks as sensitive."""
    return {kind: blank(row.schema, value) for kind, value in row.values.items()}


def _kept(row: Variable | None, schema: Mapping[str, Json], values: Mapping[str, Json]) -> dict[str, Json]:
    """The values, with sensitive parts that were left as they were shown. Raises BadInput where these are not known, or
    another type would show them."""
    found = dict(values)
    for kind, value in (row.values if row is not None else {}).items():
        masked = blank(row.schema, value) if row is not None else value
        if kind in found and masked == blank(schema, value):
            found[kind] = restored(found[kind], masked, value)
    for kind, value in found.items():
        if holds_mark(value):
            raise _bad(
                kind, f"Write the value: “{MARK}” only stands for one that is kept, and marked by the same type."
            )
    return found


_REVEALING: Final = "looks like a secret. Whoever sees a run sees it: keep it under Secrets instead."


def delete_variable(*, actor: Actor, name: str, flow: str = "") -> None:
    """Runs that started keep their value. Raises NotFound, NotAllowed."""
    found = get(actor, name, flow)
    with transaction.atomic():
        row = Variable.objects.select_for_update().get(pk=found.pk)
        _require(actor, found.flow, row, {})
        data = {"flow": flow, "before": shown(row)}
        row.delete()
        audit.record(actor=actor, action="variable.deleted", object_type="variable", object_id=name, data=data)


def _require(actor: Actor, flow: Flow | None, row: Variable | None, values: Mapping[str, Json]) -> None:
    """Raises NotAllowed unless the actor may change what differs."""
    if flow is None:
        require(actor, Role.ADMIN)
        return
    before = row.values if row is not None else {}
    live, draft = (before.get(k) != values.get(k) or (k in before) != (k in values) for k in KINDS)
    if live:
        require(actor, Role.OPERATOR, flow.folder)
    if draft or not (live or can(actor, Role.OPERATOR, flow.folder)):
        require(actor, Role.AUTHOR, flow.folder)


def _check(name: str, schema: Mapping[str, Json], values: Mapping[str, Json], description: str) -> None:
    if not NAME.fullmatch(name):
        raise _bad("name", "Use small letters, digits and _, starting with a letter; 63 at most.")
    if len(description) > 300 or "\0" in description:
        raise _bad("description", "A description has at most 300 characters.")
    for _, _, message in schema_problems(schema)[:1]:
        raise _bad("schema", f"The schema is not valid: {message}.")
    for kind, value in values.items():
        if kind not in KINDS:
            raise _bad(kind, "A variable has a live and a draft value.")
        _check_value(kind, schema, value)


def _check_value(kind: str, schema: Mapping[str, Json], value: Json) -> None:
    try:
        problems = validate_input(schema, value)
    except JsonError as error:
        raise _bad(kind, str(error)) from error
    if problems:
        raise _bad(kind, f"{problems[0]['message']}.")
    text = dumps(value)
    if len(text) > MAX_BYTES or "\\u0000" in text or "\0" in text:
        raise _bad(kind, f"A value has at most {MAX_BYTES} characters as JSON, and no U+0000.")


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])
