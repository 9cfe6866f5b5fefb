"""API v1: variables of the workspace and of flows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from flows import variables
from flows.models import Variable
from resources.api import Input, Text, actor_of, declared, name_of
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor

router = Router(tags=["variables"])
Json = Any
OF = "The slug of the flow whose variable it is; left out: the workspace's."


class VariableIn(Input):
    type_schema: dict[str, Json] = Field(default_factory=dict, alias="schema", description="JSON Schema of its values.")
    values: dict[str, Json] = Field(description="`live`, and `draft` for test runs; one left out is not set.")
    description: Text = Field("", max_length=300)


class VariableOut(Schema):
    name: str
    flow: str | None = Field(description="Null: of the workspace.")
    type_schema: dict[str, Json] = Field(alias="schema")
    values: dict[str, Json]
    description: str
    updated_by: str | None
    updated_at: str
    warnings: list[str]


class VariablesOut(Schema):
    items: list[VariableOut]
    next_cursor: str | None


@router.get("/variables", response=declared((200, VariablesOut)), by_alias=True)
def list_variables(
    request: HttpRequest,
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Json]:
    """Those of the workspace and of the flows you may view, in the order they were made."""
    rows = variables.visible(actor_of(request)).order_by("pk")
    if cursor:
        rows = rows.filter(pk__gt=min(decode_cursor(cursor, int)[0], 2**62))
    found = list(rows[: limit + 1])
    more = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
    return {"items": [_out(row) for row in found[:limit]], "next_cursor": more}


@router.get("/variables/{name}", response=declared((200, VariableOut)), by_alias=True)
def get_variable(request: HttpRequest, name: Text, flow: str = Query("", max_length=63, description=OF)) -> Any:
    """One of them."""
    return _out(variables.get(actor_of(request), name, flow))


@router.put("/variables/{name}", response=declared((200, VariableOut)), by_alias=True)
def put_variable(
    request: HttpRequest, name: Text, body: VariableIn, flow: str = Query("", max_length=63, description=OF)
) -> Any:
    """Make or replace it. The workspace's: admins; a flow's: authors set draft values, operators live ones."""
    row, warnings = variables.set_variable(
        actor=actor_of(request), name=name, flow=flow, schema=body.type_schema, values=body.values,
        description=body.description,
    )  # fmt: skip
    return _out(row, warnings)


@router.delete("/variables/{name}", response=declared((204, None)))
def delete_variable(
    request: HttpRequest, name: Text, flow: str = Query("", max_length=63, description=OF)
) -> Status[None]:
    """Runs that started keep their value."""
    variables.delete_variable(actor=actor_of(request), name=name, flow=flow)
    return Status(204, None)


def _out(row: Variable, warnings: list[str] | None = None) -> dict[str, Json]:
    return {
        "name": row.name,
        "flow": row.flow.slug if row.flow is not None else None,
        "schema": row.schema,
        "values": variables.shown(row),
        "description": row.description,
        "updated_by": name_of(row.updated_by),
        "updated_at": row.updated_at.isoformat(timespec="milliseconds"),
        "warnings": warnings or [],
    }
