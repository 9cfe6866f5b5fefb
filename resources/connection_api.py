"""API v1: connections and their kinds. Everybody with a role sees that they exist; admins see and change settings."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from resources import connection_past as past
from resources import connections, probe, usage
from resources.access import Actor, can, require, require_some_role
from resources.api import Input, Text, actor_of, declared, iso
from resources.kinds import KINDS
from resources.models import Connection, Role
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor

router = Router(tags=["connections"])

Json = Any


class ConnectionIn(Input):
    name: Text = Field(max_length=63, description="Lower-case letters, digits and -; stays for ever.")
    kind: Text = Field(max_length=16, description="One of GET /connection-kinds.")
    settings: dict[str, Json] = Field(description="As the kind's schema says. Secrets are named, never given.")


class SettingsIn(Input):
    settings: dict[str, Json] = Field(description="All of them. `limits` left out stay as they are.")


class ConnectionOut(Schema):
    name: str
    kind: str
    version: int = Field(description="Goes up with every change but of limits; open approvals are then asked again.")
    address: str = Field(description="What it reaches, for people.")
    secrets: list[str] = Field(description="Names of the secrets it sends.")
    settings: dict[str, Json] | None = Field(description="For admins, null for others.")
    created_at: str
    updated_at: str


class ConnectionsOut(Schema):
    items: list[ConnectionOut]
    next_cursor: str | None


class KindOut(Schema):
    name: str
    title: str
    summary: str
    settings_schema: dict[str, Json] = Field(description="JSON Schema (2020-12) of `settings`.")


class KindsOut(Schema):
    items: list[KindOut]


class TestedOut(Schema):
    ok: bool
    message: str = Field(description="What happened and, if it failed, what to look at.")


class UseOut(Schema):
    label: str = Field(description="Such as: flow release-service.")
    url: str
    blocks: bool = Field(description="Keeps it from being deleted.")


class UsageOut(Schema):
    items: list[UseOut]


class HealthOut(Schema):
    state: str = Field(description="What is known of it, in words.")
    tested_at: str | None
    test_ok: bool | None
    test_message: str
    used_at: str | None = Field(description="To about a minute.")
    failed_at: str | None
    failure: str = Field(description="What went wrong on its side the last time.")


class ChangeOut(Schema):
    at: str
    actor: str
    action: str
    version: int | None = Field(description="The version it made or tested.")
    changed: list[str] = Field(description="The settings that changed, by name.")


class ChangesOut(Schema):
    items: list[ChangeOut]


@router.get("/connection-kinds", response=declared((200, KindsOut)))
def list_kinds(request: HttpRequest) -> dict[str, Json]:
    """The kinds there are, with the schema of their settings."""
    require_some_role(actor_of(request))
    kinds = [
        {"name": k.name, "title": k.title, "summary": k.summary, "settings_schema": k.Settings.model_json_schema()}
        for k in KINDS.values()
    ]
    return {"items": kinds}


@router.get("/connections", response=declared((200, ConnectionsOut)))
def list_connections(
    request: HttpRequest,
    kind: Text = "",
    cursor: Text | None = None,
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Json]:
    """By name."""
    actor = actor_of(request)
    require_some_role(actor)
    rows = connections.list_connections().filter(**({"kind": kind} if kind else {}))
    if cursor:
        rows = rows.filter(name__gt=decode_cursor(cursor, str)[0])
    found = list(rows[: limit + 1])
    more = encode_cursor(found[limit - 1].name) if len(found) > limit else None
    return {"items": [_out(row, actor) for row in found[:limit]], "next_cursor": more}


@router.post("/connections", response=declared((201, ConnectionOut), errors=(409,)))
def create_connection(request: HttpRequest, body: ConnectionIn) -> Status[dict[str, Json]]:
    """Admins. 409 `connection_exists`."""
    actor = actor_of(request)
    made = connections.create_connection(actor=actor, name=body.name, kind=body.kind, settings=body.settings)
    return Status(201, _out(made, actor))


@router.get("/connections/{name}", response=declared((200, ConnectionOut)))
def get_connection(request: HttpRequest, name: Text) -> dict[str, Json]:
    """One of them."""
    actor = actor_of(request)
    require_some_role(actor)
    return _out(connections.get(name), actor)


@router.put("/connections/{name}", response=declared((200, ConnectionOut)))
def put_connection(request: HttpRequest, name: Text, body: SettingsIn) -> dict[str, Json]:
    """Replace the settings. Admins."""
    actor = actor_of(request)
    require(actor, Role.ADMIN)
    kept = {"limits": connections.get(name).settings.get("limits")}
    return _out(connections.update_connection(actor=actor, name=name, settings={**kept, **body.settings}), actor)


@router.delete("/connections/{name}", response=declared((204, None), errors=(409,)))
def delete_connection(request: HttpRequest, name: Text) -> Status[None]:
    """Admins. 409 `in_use`, with the users in `details`."""
    connections.delete_connection(actor=actor_of(request), name=name)
    return Status(204, None)


@router.post("/connections/{name}/test", response=declared((200, TestedOut)))
def test_connection(request: HttpRequest, name: Text) -> dict[str, Json]:
    """Try it as its kind does, changing nothing outside. Admins, as it sends the secret."""
    tested = probe.test_connection(actor=actor_of(request), name=name)
    return {"ok": tested.ok, "message": tested.message}


@router.get("/connections/{name}/usage", response=declared((200, UsageOut)))
def get_usage(request: HttpRequest, name: Text) -> dict[str, Json]:
    """Who uses it; those that block keep it from being deleted. Admins, as it names flows of every folder."""
    require(actor_of(request), Role.ADMIN)
    uses = usage.uses_of("connection", connections.get(name).name)
    return {"items": [{"label": use.label, "url": use.url, "blocks": use.blocks} for use in uses]}


@router.get("/connections/{name}/health", response=declared((200, HealthOut)))
def get_health(request: HttpRequest, name: Text) -> dict[str, Json]:
    """The last test, use and failure. Admins, as messages quote the other side."""
    require(actor_of(request), Role.ADMIN)
    facts = past.health_of(connections.get(name).pk)
    return {**facts, **{key: iso(facts[key]) for key in ("tested_at", "used_at", "failed_at")}}


@router.get("/connections/{name}/history", response=declared((200, ChangesOut)))
def get_history(request: HttpRequest, name: Text) -> dict[str, Json]:
    """Its last 20 changes and tests, newest first, from the audit log. Admins."""
    require(actor_of(request), Role.ADMIN)
    changes = past.changes_of(connections.get(name).name)
    return {"items": [{**change, "at": iso(change["at"])} for change in changes]}


def _out(row: Connection, actor: Actor) -> dict[str, Json]:
    return {
        "name": row.name,
        "kind": row.kind,
        "version": row.version,
        "address": connections.address_of(row.settings),
        "secrets": sorted(connections.secrets_in(row.kind, row.settings)),
        "settings": row.settings if can(actor, Role.ADMIN) else None,
        "created_at": row.created_at.isoformat(timespec="milliseconds"),
        "updated_at": row.updated_at.isoformat(timespec="milliseconds"),
    }
