"""API v1: a connection's limits and what they do right now."""

from __future__ import annotations

import time
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema

from resources.access import can, require_some_role
from resources.api import Input, Text, actor_of, declared, iso
from resources.limits import actions, overview
from resources.limits.config import Limits
from resources.models import Role

router = Router(tags=["connections"])


class BreakerOut(Schema):
    state: Literal["closed", "open", "half_open"]
    opened_at: str | None
    probe_at: str | None = Field(description="When probes are let through; null where only a person closes it.")
    by: str = Field(description="Who opened it by hand, or empty.")
    reason: str
    failed: int = Field(description="Within the window.")
    succeeded: int
    opened: int = Field(description="How often it has opened.")


class PermitOut(Schema):
    run: str
    step: str
    item: int | None
    since: str
    due: str | None = Field(description="When it may begin; null where nobody knows yet.")
    attempt: int | None
    probe: bool
    why: str = Field(description="What holds it.")


class LimitsOut(Schema):
    connection: str
    limits: Limits | None
    concurrency: int | None = Field(description="How many at a time now, as adapted; null: any number.")
    in_use: int
    promised: int = Field(description="Let through and not begun yet.")
    waiting: int
    tokens: float | None = Field(description="Of the rate; below 0: handed out in advance.")
    breaker: BreakerOut
    shut_until: str | None = Field(description="The other side asked for silence until then.")
    latency: float | None = Field(description="Seconds an attempt takes, smoothed.")
    using: list[PermitOut] = Field(description="The first 50; for admins.")
    held: list[PermitOut] = Field(description="The first 50; for admins.")


class CircuitIn(Input):
    state: Literal["open", "closed"]
    reason: Text = Field(min_length=1, max_length=actions.MAX_REASON, pattern=r"\S")


@router.get("/connections/{name}/limits", response=declared((200, LimitsOut)))
def get_limits(request: HttpRequest, name: str) -> dict[str, Any]:
    """What is set, what is used, who waits."""
    actor = actor_of(request)
    require_some_role(actor)
    return _out(name, rows=can(actor, Role.ADMIN))


@router.put("/connections/{name}/limits", response=declared((200, LimitsOut)))
def put_limits(request: HttpRequest, name: str, body: Limits) -> dict[str, Any]:
    """Replace the limits; an empty object takes them away. The connection's version stays as it is."""
    given = body.model_dump(mode="json", exclude_none=True)
    actions.set_limits(actor=actor_of(request), name=name, limits=given or None)
    return _out(name, rows=True)


@router.post("/connections/{name}/circuit", response=declared((200, LimitsOut)))
def switch_circuit(request: HttpRequest, name: str, body: CircuitIn) -> dict[str, Any]:
    """Open the breaker until somebody closes it, or close it."""
    actions.switch_circuit(actor=actor_of(request), name=name, opened=body.state == "open", reason=body.reason)
    return _out(name, rows=True)


def _out(name: str, *, rows: bool) -> dict[str, Any]:
    found = overview.of_connection(name, time.time(), rows=rows)
    breaker = found["breaker"]
    found["breaker"] = {**breaker, "opened_at": iso(breaker["opened_at"]), "probe_at": iso(breaker["probe_at"])}
    found["shut_until"] = iso(found["shut_until"])
    for kind in ("using", "held"):
        found[kind] = [{**row, "since": iso(row["since"]), "due": iso(row["due"])} for row in found[kind]]
    return found
