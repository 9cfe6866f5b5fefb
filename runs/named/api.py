"""API v1: delivering named events, and which are kept."""

from __future__ import annotations

from typing import Any, Literal

from django.db.models import Q
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from flows.definition.sensitive import blank
from resources.access import folder_filter
from resources.api import Input, Text, actor_of, declared, iso
from resources.errors import BadInput
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor
from runs.named.delivery import Taken, deliver_event
from runs.named.models import NamedEvent

router = Router(tags=["named events"])


class EventIn(Input):
    name: Text = Field(max_length=100, description="What flows wait for: letters, digits and _.:@/-")
    id: Text = Field(max_length=200, description="Yours; a repeated one changes nothing and is answered the same.")
    body: Any = Field(None, description="Any JSON, 64 KiB at most; `event.body` in a match.")
    folder: Text = Field("", max_length=200, description="Reaches the flows in it and below it; empty: all.")


class TriggeredOut(Schema):
    flow: str
    status: Literal["started", "duplicate", "skipped", "ignored", "refused"]
    run: str | None
    code: str = Field(description="Why it was refused; else empty.")
    message: str


class DeliveredEventOut(Schema):
    name: str
    id: str
    folder: str
    received_at: str
    duplicate: bool = Field(description="This id came before; its first body counts.")
    triggered: list[TriggeredOut] = Field(description="Flows that have a trigger of this name.")


class KeptEventOut(Schema):
    name: str
    id: str
    folder: str
    sender: str
    received_at: str
    body: Any


class KeptEventListOut(Schema):
    items: list[KeptEventOut]
    next_cursor: str | None


@router.post("/events", response=declared((202, DeliveredEventOut)))
def deliver(request: HttpRequest, body: EventIn) -> Status[dict[str, Any]]:
    """Tell flows that something happened: runs that wait for it go on, flows that it triggers start."""
    taken = deliver_event(
        actor=actor_of(request), name=body.name, key=body.id, body=body.body, folder=body.folder
    )  # fmt: skip
    return Status(202, _told(taken, body.name))


@router.get("/events", response=declared((200, KeptEventListOut)))
def list_events(
    request: HttpRequest,
    name: str | None = None,
    cursor: str | None = None,
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Events that are kept, the newest first; of folders you may view."""
    rows = NamedEvent.objects.filter(folder_filter(actor_of(request), "viewer")).select_related("name")
    if name is not None:
        rows = rows.filter(name__name=name) if "\0" not in name else rows.none()
    if cursor:
        at, last = decode_cursor(cursor, float, int)
        rows = rows.filter(Q(received_at__lt=at) | Q(received_at=at, pk__lt=_in_range(last)))
    found = list(rows.order_by("-received_at", "-pk")[: limit + 1])
    items, more = found[:limit], len(found) > limit
    place = encode_cursor(float(items[-1].received_at), items[-1].pk) if more else None
    return {"items": [_kept(event) for event in items], "next_cursor": place}


def _in_range(pk: int) -> int:
    """What a cursor of ours may hold. Raises BadInput."""
    if not 0 < pk < 2**63:
        raise BadInput("The cursor is not one we gave out.", code="bad_cursor", hint="Start again without a cursor.")
    return pk


def _told(taken: Taken, name: str) -> dict[str, Any]:
    event = taken.event
    started = [{k: getattr(s, k) for k in ("flow", "status", "run", "code", "message")} for s in taken.started]
    return {
        "name": name, "id": event.key, "folder": event.folder, "received_at": iso(event.received_at),
        "duplicate": not taken.created, "triggered": started,
    }  # fmt: skip


def _kept(event: NamedEvent) -> dict[str, Any]:
    body = event.body
    for schema in event.name.marks or ():
        body = blank(schema, body)
    return {
        "name": event.name.name, "id": event.key, "folder": event.folder, "sender": event.sender,
        "received_at": iso(event.received_at), "body": body,
    }  # fmt: skip
