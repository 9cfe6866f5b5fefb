"""API v1: resources, their bytes, links and uploads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from ninja import Field, Query, Router, Schema, Status
from ninja.params.functions import Query as Bounded

from resources import artifacts, catalogue, keeping, links, serve, uploads
from resources.api import Input, Text, actor_of, declared, iso, moment
from resources.errors import BadInput
from resources.models import Artifact
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT

router = Router(tags=["resources"])
Json = Any


class ResourceOut(Schema):
    id: str
    address: str = Field(description="`res://<id>`: what flows name it by.")
    name: str
    content_type: str
    size: int = Field(description="Bytes.")
    sha256: str
    folder: str
    run: str | None = Field(description="The run that made it; null for an upload.")
    step: str | None
    created_by: str | None = Field(description="Who uploaded it.")
    keep: str = Field(description="run: as long as its run; until: until keep_until; forever.")
    keep_until: str | None
    pinned: bool
    labels: dict[str, str]
    created_at: str


class ResourcesOut(Schema):
    items: list[ResourceOut]
    next_cursor: str | None


class ResourceChange(Input):
    keep: Text | None = Field(None, description="run, until or forever.")
    keep_until: Text | None = Field(None, description="RFC 3339, with until.")
    pinned: bool | None = Field(None, description="Kept whatever the rest says.")
    labels: dict[Text, Text] | None = Field(None, description="All of them.")


class LinkIn(Input):
    expires_in: int = Field(links.DEFAULT, description="Seconds, 7 days at most.")
    disposition: Text = Field("attachment", description="attachment; inline only for safe types.")


class LinkOut(Schema):
    url: str = Field(description="Whoever has it gets the resource, without signing in.")


class ResourceFilters(Schema):
    type: Text = Field("", description="json, text, table, image, other, or a media type.")
    origin: Text = Field("", description="run, upload, or the id of a run.")
    label: Text = Field("", description="name=text")
    q: Text = Field("", max_length=200, description="Part of the name, or the id.")
    since: Text = ""
    before: Text = ""


@router.get("/resources", response=declared((200, ResourcesOut)))
def list_resources(
    request: HttpRequest,
    asked: Query[ResourceFilters],
    cursor: Text | None = None,
    limit: int = Bounded(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Json]:
    """Those of the folders one views, the newest first."""
    since, before = (moment(t, path) if t else None for t, path in ((asked.since, "since"), (asked.before, "before")))
    wanted = catalogue.Asked(asked.type, asked.origin, asked.label, asked.q, since, before)
    rows = catalogue.filtered(catalogue.visible(actor_of(request)), wanted)
    found = catalogue.page(rows, cursor=cursor, limit=limit)
    return {"items": [out(row) for row in found.items], "next_cursor": found.next_cursor}


RAW = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/resources", response=declared((201, ResourceOut), errors=(503,)), openapi_extra=RAW)
def upload_resource(request: HttpRequest, name: Text = "", folder: Text = "") -> Status[dict[str, Json]]:
    """Upload: the body is the resource, its Content-Type the type. Operators of the folder."""
    made = uploads.upload_resource(
        actor=actor_of(request),
        chunks=pieces(request),
        name=name,
        content_type=request.headers.get("Content-Type", ""),
        folder=folder,
    )
    return Status(201, out(made))


@router.get("/resources/{resource_id}", response=declared((200, ResourceOut)))
def get_resource(request: HttpRequest, resource_id: Text) -> dict[str, Json]:
    """One of them."""
    return out(_seen(request, resource_id))


@router.patch("/resources/{resource_id}", response=declared((200, ResourceOut)))
def change_resource(request: HttpRequest, resource_id: Text, body: ResourceChange) -> dict[str, Json]:
    """Change retention, pin or labels. Operators of its folder."""
    until = moment(body.keep_until, "keep_until") if body.keep_until else None
    if until is not None and body.keep is None:
        raise BadInput("Give keep_until with keep until.", details=[{"path": "keep_until", "message": "not alone"}])
    changed = keeping.update_resource(
        actor=actor_of(request),
        artifact_id=resource_id,
        keep=body.keep,
        keep_until=until,
        pinned=body.pinned,
        labels=body.labels,
    )
    return out(changed)


@router.delete("/resources/{resource_id}", response=declared((204, None), errors=(409,)))
def delete_resource(request: HttpRequest, resource_id: Text) -> Status[None]:
    """Operators of its folder. 409 `pinned`, or `in_use` while an open run or approval needs it."""
    keeping.delete_resource(actor=actor_of(request), artifact_id=resource_id, now=time.time())
    return Status(204, None)


BYTES = {
    "responses": {
        200: {"description": "The bytes.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The range asked for.", "content": {"*/*": {"schema": {"type": "string"}}}},
        304: {"description": "The client has it."},
        416: {"description": "The range is outside."},
    }
}
HEADERS = {"responses": {200: {"description": "No bytes."}, 304: {"description": "The client has it."}}}


@router.get("/resources/{resource_id}/content", response=declared(), openapi_extra=BYTES)
def get_content(request: HttpRequest, resource_id: Text) -> HttpResponseBase:
    """The bytes. Takes Range, If-Range and If-None-Match."""
    return serve.respond(request, _seen(request, resource_id))


@router.api_operation(["HEAD"], "/resources/{resource_id}/content", response=declared(), openapi_extra=HEADERS)
def head_content(request: HttpRequest, resource_id: Text) -> HttpResponseBase:
    """What GET would say of the bytes: their type, length and ETag."""
    return serve.respond(request, _seen(request, resource_id))


@router.post("/resources/{resource_id}/links", response=declared((201, LinkOut)))
def issue_link(request: HttpRequest, resource_id: Text, body: LinkIn) -> Status[dict[str, Json]]:
    """A link that works without signing in, until it is over or revoked. Audited."""
    url = links.issue_link(
        actor=actor_of(request),
        artifact_id=resource_id,
        now=time.time(),
        seconds=body.expires_in,
        disposition=body.disposition,
    )
    return Status(201, {"url": url})


@router.delete("/resources/{resource_id}/links", response=declared((204, None)))
def revoke_links(request: HttpRequest, resource_id: Text) -> Status[None]:
    """Revoke all links to it. Operators of its folder."""
    links.revoke_links(actor=actor_of(request), artifact_id=resource_id)
    return Status(204, None)


def pieces(request: HttpRequest) -> Iterator[bytes]:
    """The body as it is read; nothing of it stays in memory."""
    while piece := request.read(artifacts.PIECE):
        yield piece


def _seen(request: HttpRequest, resource_id: str) -> Artifact:
    return artifacts.seen(actor_of(request), resource_id)


def out(row: Artifact) -> dict[str, Json]:
    return {
        "id": row.pk,
        "address": str(row),
        "name": row.name,
        "content_type": row.content_type,
        "size": row.size,
        "sha256": row.sha256,
        "folder": row.folder,
        "run": row.run_id or None,
        "step": row.step or None,
        "created_by": row.created_by or None,
        **keeping.facts(row),
        "keep_until": iso(row.keep_until),
        "created_at": iso(row.created_at.timestamp()),
    }
