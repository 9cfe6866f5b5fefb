"""API v1: the audit log. Admins of everything."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Field, P, Query, Router, Schema
from ninja.params.functions import Query as Bounded

from resources import audit
from resources.access import Actor, require
from resources.api import Text, actor_of, declared, moment
from resources.models import Role
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT
from resources.trail import export, offline, query

router = Router(tags=["audit"])
#: findings told: one broken link is reason enough to look
MOST_FINDINGS = 100
Anchor = Annotated[Text, P(description="NUMBER:HASH, noted earlier.")]


class EntryOut(Schema):
    seq: int
    at: str
    actor: str
    actor_kind: str = Field(description="user, token, trigger or system.")
    address: str = Field(description="Where the request came from; empty for Orchestra itself.")
    action: str
    object_type: str
    object_id: str
    data: Any = Field(description="`before`, `after` and `reason` as far as there are some, and what else was said.")
    previous_hash: str
    hash: str
    intact: bool = Field(description="The entry's hash is that of its fields.")


class EntriesOut(Schema):
    items: list[EntryOut]
    next_cursor: str | None


class FindingOut(Schema):
    seq: int
    kind: str = Field(description="edited, missing, unlinked, truncated, added or head.")
    message: str


class VerificationOut(Schema):
    whole: bool
    seq: int = Field(description="Of the last entry, 0 for none. Note it with `hash` outside this machine.")
    hash: str
    findings: list[FindingOut] = Field(description=f"The first {MOST_FINDINGS}.")


class AuditFilters(Schema):
    actor: Text = ""
    action: Text = Field("", description="Whole, or the beginning that ends with a dot: `flow.`")
    object_type: Text = ""
    object_id: Text = ""
    address: Text = Field("", description="How it begins.")
    q: Text = Field("", max_length=200, description="Part of the object's id or of the data.")
    since: Text = ""
    before: Text = ""


def asked_of(told: AuditFilters) -> query.Asked:
    since, before = (moment(t, path) if t else None for t, path in ((told.since, "since"), (told.before, "before")))
    return query.Asked(told.actor, told.action, told.object_type, told.object_id, told.address, told.q, since, before)


@router.get("/audit", response=declared((200, EntriesOut)))
def list_audit(
    request: HttpRequest,
    told: Query[AuditFilters],
    cursor: Text | None = None,
    limit: int = Bounded(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Every change by a person, the newest first."""
    found = query.page(query.entries(actor_of(request), asked_of(told)), cursor=cursor, limit=limit)
    return {"items": [out(row) for row in found.items], "next_cursor": found.next_cursor}


@router.get("/audit/verification", response=declared((200, VerificationOut)))
def verify_log(request: HttpRequest, anchor: Anchor = "") -> dict[str, Any]:
    """Check the whole chain, as `manage.py verify_audit` does: any edit, removal, insertion or cut-off end."""
    return checked(actor_of(request), anchor)


FILE = {
    "responses": {
        200: {
            "description": "The entries, oldest first. `X-Audit-Head`: NUMBER:HASH of the last one there is.",
            "content": {name: {"schema": {"type": "string"}} for name in ("application/jsonl", "text/csv")},
        }
    }
}


@router.get("/audit/export", response=declared(), openapi_extra=FILE)
def export_audit(
    request: HttpRequest, told: Query[AuditFilters], format: Literal["jsonl", "csv"] = "jsonl"
) -> StreamingHttpResponse:
    """The entries as a file that `manage.py verify_audit --file` checks without this database."""
    return file_of(actor_of(request), asked_of(told), format)


@router.get("/audit/{int:seq}", response=declared((200, EntryOut)))
def get_entry(request: HttpRequest, seq: Annotated[int, P(ge=1, lt=2**63)]) -> dict[str, Any]:
    """One of them."""
    return out(query.entry(actor_of(request), seq))


def out(row: Any) -> dict[str, Any]:
    return {**export.fields(row), "intact": row.hash == audit.digest(row)}


def checked(actor: Actor, anchor: str = "") -> dict[str, Any]:
    """As VerificationOut. Raises NotAllowed, BadInput."""
    require(actor, Role.ADMIN)
    noted = offline.anchor_of(anchor)
    seq, last = audit.head()
    findings = audit.verify(anchor=noted)
    told = [{"seq": f.seq, "kind": f.kind, "message": f.message} for f in findings[:MOST_FINDINGS]]
    return {"whole": not findings, "seq": seq, "hash": last, "findings": told}


def file_of(actor: Actor, asked: query.Asked, kind: export.Format) -> StreamingHttpResponse:
    """The export up to the entry that is the last now. Raises NotAllowed."""
    seq, last = audit.head()
    rows = query.entries(actor, asked).filter(seq__lte=seq) if seq else query.entries(actor, asked)
    response = StreamingHttpResponse(export.pieces(rows, kind), content_type=export.TYPES[kind])
    name = "audit-selection" if asked.narrowed else "audit"
    response["Content-Disposition"] = f'attachment; filename="{name}-{seq}.{kind}"'
    response["X-Audit-Head"] = f"{seq}:{last}"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
