"""API v1: the caller's own notices."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema
from ninja.params.functions import Path, Query

from resources.api import Input, Text, actor_of, declared, iso, moment
from resources.models import Notice
from resources.notices import inbox
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT

router = Router(tags=["notices"])


class NoticeOut(Schema):
    id: int
    kind: str
    title: str
    text: str = Field(description="Markdown.")
    url: str = Field(description="A path of the product, or empty.")
    at: str
    read_at: str | None


class NoticesOut(Schema):
    items: list[NoticeOut]
    next_cursor: str | None
    unread: int = Field(description="How many are unread; 100 stands for more.")


class ReadIn(Input):
    up_to: Text = Field(max_length=40, description="What came until this time (RFC 3339), such as `at` of the newest.")


class MarkedOut(Schema):
    marked: int


Kind = Literal[
    "message",
    "approval",
    "run_failed",
    "token",
    "dead_letter",
    "schedule_paused",
    "quarantined",
    "circuit",
    "secret_due",
]


class NoticeSettingsIn(Input):
    muted: list[Kind] = Field(max_length=20, description="Kinds not to be told of.")
    mailed: list[Kind] = Field(default_factory=list, max_length=20, description="Kinds to be told of by e-mail, too.")


class SettingsOut(Schema):
    muted: list[str]
    mailed: list[str]


def _json(row: Notice) -> dict[str, Any]:
    return {
        "id": row.pk, "kind": row.kind, "title": row.title, "text": row.text, "url": row.url, "at": iso(row.at),
        "read_at": iso(row.read_at),
    }  # fmt: skip


@router.get("/notices", response=declared((200, NoticesOut)))
def list_notices(
    request: HttpRequest,
    unread: bool = Query(False, description="Only those not read."),
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """The caller's notices, newest first. They are kept for 90 days."""
    actor = actor_of(request)
    rows, following = inbox.page(actor, only_unread=unread, cursor=cursor, limit=limit)
    return {"items": [_json(row) for row in rows], "next_cursor": following, "unread": inbox.unread(actor)}


@router.post("/notices/{notice_id}/read", response=declared((200, NoticeOut)))
def read_notice(request: HttpRequest, notice_id: int = Path(ge=1, le=2**62)) -> dict[str, Any]:
    """One is read now; one that was stays as it is."""
    return _json(inbox.mark_read(actor=actor_of(request), notice_id=notice_id, now=time.time()))


@router.post("/notices/read", response=declared((200, MarkedOut)))
def read_notices(request: HttpRequest, body: ReadIn) -> dict[str, Any]:
    """All that came until a time are read now."""
    # a time of milliseconds covers all that came within its last one
    up_to = moment(body.up_to, "up_to") + 0.001
    return {"marked": inbox.mark_all_read(actor=actor_of(request), up_to=up_to, now=time.time())}


@router.get("/notices/settings", response=declared((200, SettingsOut)))
def get_settings(request: HttpRequest) -> dict[str, Any]:
    """What the caller chose not to be told of, and what to be told of by e-mail, too."""
    return asdict(inbox.chosen(actor_of(request)))


@router.put("/notices/settings", response=declared((200, SettingsOut)))
def put_settings(request: HttpRequest, body: NoticeSettingsIn) -> dict[str, Any]:
    """Exactly these kinds are not told, or told by e-mail too, from now on."""
    return asdict(inbox.choose(actor=actor_of(request), muted=body.muted, mailed=body.mailed))
