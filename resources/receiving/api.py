"""API v1: links by which somebody without an account brings one file."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query as Bounded

from resources.api import Input, Text, actor_of, declared, iso
from resources.links import DEFAULT
from resources.models import UploadLink
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT
from resources.receiving import links

router = Router(tags=["resources"])
Json = Any


class UploadLinkIn(Input):
    name: Text = Field(max_length=1000, description="What the resource will be called.")
    folder: Text = Field("", max_length=200)
    content_type: Text = Field("", max_length=200, description="The only type it takes; empty: any.")
    max_bytes: int | None = Field(None, description="Of the file; null: what one request may bring.")
    expires_in: int = Field(DEFAULT, description="Seconds, 7 days at most.")
    labels: dict[Text, Text] = Field(default_factory=dict)


class UploadLinkOut(Schema):
    id: str
    state: str = Field(description="open, used, revoked or over.")
    name: str
    folder: str
    content_type: str
    max_bytes: int
    labels: dict[str, str]
    created_by: str
    expires_at: str
    used_at: str | None
    resource: str | None = Field(description="`res://<id>` of what came, while it is there.")


class NewUploadLinkOut(UploadLinkOut):
    url: str = Field(description="Whoever has it may PUT one file there. It is not shown again.")
    curl: str = Field(description="How to send FILE.")


class UploadLinksOut(Schema):
    items: list[UploadLinkOut]
    next_cursor: str | None


@router.get("/upload-links", response=declared((200, UploadLinksOut)))
def list_upload_links(
    request: HttpRequest, cursor: Text | None = None, limit: int = Bounded(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
) -> dict[str, Json]:
    """Those of the folders one operates, the newest first."""
    found = links.listed(actor_of(request), cursor=cursor, limit=limit)
    return {"items": [out(row, time.time()) for row in found.items], "next_cursor": found.next_cursor}


@router.post("/upload-links", response=declared((201, NewUploadLinkOut)))
def issue_upload_link(request: HttpRequest, body: UploadLinkIn) -> Status[dict[str, Json]]:
    """A link that takes one file by PUT, without signing in. Operators of the folder; audited."""
    given = body.dict()
    wanted = links.Wanted(seconds=given.pop("expires_in"), **given)
    row, url = links.issue_upload_link(actor=actor_of(request), wanted=wanted, now=time.time())
    return Status(201, {**out(row, time.time()), "url": url, "curl": curl(row, url)})


@router.delete("/upload-links/{link_id}", response=declared((204, None), errors=(409,)))
def revoke_upload_link(request: HttpRequest, link_id: Text) -> Status[None]:
    """It takes nothing from now on. 409 `link_used`: the file is here."""
    links.revoke_upload_link(actor=actor_of(request), link_id=link_id, now=time.time())
    return Status(204, None)


def curl(row: UploadLink, url: str) -> str:
    """A line for a shell."""
    kind = f" -H 'Content-Type: {row.content_type}'" if row.content_type else ""
    return f"curl --fail-with-body -T FILE{kind} {url}"


def out(row: UploadLink, now: float) -> dict[str, Json]:
    return {
        "id": row.pk,
        "state": row.state(now),
        "name": row.name,
        "folder": row.folder,
        "content_type": row.content_type,
        "max_bytes": row.max_bytes,
        "labels": row.labels,
        "created_by": row.created_by,
        "expires_at": iso(row.expires_at),
        "used_at": iso(row.used_at),
        "resource": f"res://{row.artifact_id}" if row.artifact_id else None,
    }
