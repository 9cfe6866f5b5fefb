"""API v1: bindings of the workspace and of flows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from flows import binding_actions as bindings
from flows.actions import visible_flow
from flows.binding_pages import of_flow
from flows.models import Binding
from resources.api import Input, Text, actor_of, declared, name_of
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor

router = Router(tags=["bindings"])
Json = Any
OF = "The slug of the flow whose binding it is; left out: of all flows."


class BindingIn(Input):
    test: Text = Field("", max_length=64, description="The connection in test runs; empty: not said here.")
    live: Text = Field("", max_length=64, description="The connection in live runs; empty: not said here.")


class BindingOut(Schema):
    name: str
    flow: str | None = Field(description="Null: of all flows.")
    test: str
    live: str
    updated_by: str | None
    updated_at: str


class BindingsOut(Schema):
    items: list[BindingOut]
    next_cursor: str | None


class SideOut(Schema):
    connection: str = Field(description="What the name stands for.")
    kind: str | None = Field(description="Null: there is no such connection.")
    by: str = Field(description="flow | workspace | name: whose binding says so, or no binding.")


class NameOut(Schema):
    name: str
    live: SideOut
    test: SideOut


class NamesOut(Schema):
    items: list[NameOut]


@router.get("/bindings", response=declared((200, BindingsOut)))
def list_bindings(
    request: HttpRequest,
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Json]:
    """Those of all flows and of the flows you may view, in the order they were made."""
    rows = bindings.visible(actor_of(request)).order_by("pk")
    if cursor:
        rows = rows.filter(pk__gt=min(decode_cursor(cursor, int)[0], 2**62))
    found = list(rows[: limit + 1])
    more = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
    return {"items": [_out(row) for row in found[:limit]], "next_cursor": more}


@router.get("/flows/{slug}/connections", response=declared((200, NamesOut)))
def list_connections_of_flow(request: HttpRequest, slug: Text) -> dict[str, Json]:
    """The names of connections in a flow's draft and live release, and what each stands for now."""
    return {"items": of_flow(visible_flow(actor_of(request), slug))}


@router.get("/bindings/{name}", response=declared((200, BindingOut)))
def get_binding(request: HttpRequest, name: Text, flow: str = Query("", max_length=63, description=OF)) -> Any:
    """One of them."""
    return _out(bindings.get(actor_of(request), name, flow))


@router.put("/bindings/{name}", response=declared((200, BindingOut)))
def put_binding(
    request: HttpRequest, name: Text, body: BindingIn, flow: str = Query("", max_length=63, description=OF)
) -> Any:
    """Make or replace it: admins; authors the test side of a flow's. Steps that are worked out from now on go by it."""
    row = bindings.set_binding(actor=actor_of(request), name=name, flow=flow, test=body.test, live=body.live)
    return _out(row)


@router.delete("/bindings/{name}", response=declared((204, None)))
def delete_binding(
    request: HttpRequest, name: Text, flow: str = Query("", max_length=63, description=OF)
) -> Status[None]:
    """The name then stands for what the binding of all flows says, else for itself."""
    bindings.delete_binding(actor=actor_of(request), name=name, flow=flow)
    return Status(204, None)


def _out(row: Binding) -> dict[str, Json]:
    return {
        "name": row.name,
        "flow": row.flow.slug if row.flow is not None else None,
        "test": row.test,
        "live": row.live,
        "updated_by": name_of(row.updated_by),
        "updated_at": row.updated_at.isoformat(timespec="milliseconds"),
    }
