"""API v1: large uploads in parts, which go on where they were after whatever broke them off."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from resources import parts
from resources.api import Input, Text, actor_of, declared, iso
from resources.models import Upload
from resources.resource_api import RAW, ResourceOut, out, pieces

router = Router(tags=["resources"])
Json = Any


class UploadIn(Input):
    size: int = Field(ge=0, le=2**62, description="Bytes of all of it.")
    name: Text = Field("", max_length=1000)
    content_type: Text = Field("application/octet-stream", max_length=200)
    folder: Text = Field("", max_length=200)
    labels: dict[Text, Text] = Field(default_factory=dict)


class UploadOut(Schema):
    id: str
    offset: int = Field(description="The next byte to send.")
    size: int
    max_part_bytes: int
    expires_at: str


class DigestIn(Input):
    sha256: Text = Field(pattern="^[0-9a-fA-F]{64}$", description="Of all of it, hexadecimal.")


@router.post("/uploads", response=declared((201, UploadOut)))
def begin_upload(request: HttpRequest, body: UploadIn) -> Status[dict[str, Json]]:
    """Announce an upload. Then PUT its parts in order, and complete it within a day."""
    made = parts.begin_upload(actor=actor_of(request), now=time.time(), **body.dict())
    return Status(201, _out(made))


@router.get("/uploads/{upload_id}", response=declared((200, UploadOut)))
def get_upload(request: HttpRequest, upload_id: Text) -> dict[str, Json]:
    """How far it is. Its owner only."""
    return _out(parts.get(actor=actor_of(request), upload_id=upload_id, now=time.time()))


@router.put("/uploads/{upload_id}", response=declared((200, UploadOut), errors=(409, 503)), openapi_extra=RAW)
def add_part(request: HttpRequest, upload_id: Text, offset: int) -> dict[str, Json]:
    """The body is the next part. 409 `wrong_offset` says in `details` where to go on."""
    actor, now = actor_of(request), time.time()
    return _out(parts.add_part(actor=actor, upload_id=upload_id, offset=offset, chunks=pieces(request), now=now))


@router.post("/uploads/{upload_id}/complete", response=declared((201, ResourceOut), errors=(409, 503)))
def complete_upload(request: HttpRequest, upload_id: Text, body: DigestIn) -> Status[dict[str, Json]]:
    """Make it a resource. 409 `incomplete`; 422 `wrong_digest` leaves the upload as it is."""
    made = parts.complete_upload(actor=actor_of(request), upload_id=upload_id, sha256=body.sha256, now=time.time())
    return Status(201, out(made))


@router.delete("/uploads/{upload_id}", response=declared((204, None)))
def abandon_upload(request: HttpRequest, upload_id: Text) -> Status[None]:
    """Give it up; its parts are deleted."""
    parts.abandon_upload(actor=actor_of(request), upload_id=upload_id, now=time.time())
    return Status(204, None)


def _out(row: Upload) -> dict[str, Json]:
    return {
        "id": row.pk,
        "offset": row.received,
        "size": row.size,
        "max_part_bytes": settings.MAX_UPLOAD_BYTES,
        "expires_at": iso(row.expires_at),
    }
