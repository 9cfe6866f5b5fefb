"""API v1: approval requests and decisions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Router, Schema
from ninja.params.functions import Query

from approvals import actions
from approvals.models import ApprovalRequest, Decision
from approvals.veiled import form_of, show, veil_of, veils_of
from resources.access import can, folder_filter
from resources.api import Input, Text, actor_of, declared, iso, name_of
from resources.errors import NotFound
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, newest_first
from runs.sensitive.veil import Veil

router = Router(tags=["approvals"])
REQUEST_ID = re.compile(r"[0-9a-z]{26}", re.ASCII)
if TYPE_CHECKING:
    StatusName = str
else:  # the published list, for checking and for the description
    StatusName = Literal[tuple(ApprovalRequest.Status.values)]


class DecisionOut(Schema):
    by: str | None
    decision: str
    digest: str
    comment: str
    form: Any
    at: str


class ApprovalOut(Schema):
    id: str
    status: str
    run: str | None
    flow: str | None
    step: str
    title: str
    summary: str
    digest: str
    actions: list[Any]
    irreversible: bool
    quorum: int
    form: Any = Field(description="JSON Schema of what the decision may carry.")
    decisions: list[DecisionOut]
    created_at: str
    expires_at: str | None
    closed_at: str | None
    previous: str | None


class ApprovalsOut(Schema):
    items: list[ApprovalOut]
    next_cursor: str | None


class DecisionIn(Input):
    decision: Literal["approve", "reject"]
    digest: Text = Field(max_length=64, description="Of the actions that were seen; another one is refused.")
    comment: Text = Field("", max_length=10_000)
    form: dict[str, Any] | None = None


@router.get("/approvals", response=declared((200, ApprovalsOut)))
def list_approvals(
    request: HttpRequest,
    status: StatusName | None = None,
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Requests the caller may see, newest first."""
    rows = _rows().filter(folder_filter(actor_of(request), "viewer", "folder"))
    if status is not None:
        rows = rows.filter(status=status)
    page = newest_first(rows, cursor=cursor, limit=limit)
    veils = veils_of(page.items)
    return {"items": [_approval(row, veils[row.pk]) for row in page.items], "next_cursor": page.next_cursor}


@router.get("/approvals/{request_id}", response=declared((200, ApprovalOut)))
def get_approval(request: HttpRequest, request_id: str) -> dict[str, Any]:
    """One request: what will happen, byte for byte, and who said what."""
    row = _visible(request, request_id)
    return _approval(row, veil_of(row))


@router.post("/approvals/{request_id}/decisions", response=declared((200, ApprovalOut), errors=(409,)))
def decide(request: HttpRequest, request_id: str, body: DecisionIn) -> dict[str, Any]:
    """Approve or reject what `digest` stands for. Final."""
    _visible(request, request_id)
    actions.decide_request(
        actor=actor_of(request),
        request_id=request_id,
        verdict=body.decision,
        digest=body.digest,
        comment=body.comment,
        form=body.form,
    )
    row = _visible(request, request_id)
    return _approval(row, veil_of(row))


def _rows() -> QuerySet[ApprovalRequest]:
    rows = ApprovalRequest.objects.select_related("run__flow", "run__release").prefetch_related("decisions__person")
    return rows.defer("run__release__source", "run__release__plan_json")


def _visible(request: HttpRequest, request_id: str) -> ApprovalRequest:
    row = _rows().filter(pk=request_id).first() if REQUEST_ID.fullmatch(request_id) else None
    if row is None or not can(actor_of(request), "viewer", row.folder):
        raise NotFound(f"There is no approval request {request_id[:40]!r}.")
    return row


def _approval(row: ApprovalRequest, veil: Veil) -> dict[str, Any]:
    show(row, veil)
    return {
        "id": row.pk,
        "status": row.status,
        "run": row.run_id,
        "flow": row.run.flow.slug if row.run else None,
        "step": row.step,
        "title": row.title,
        "summary": row.summary,
        "digest": row.digest,
        "actions": row.actions,
        "irreversible": row.irreversible,
        "quorum": row.quorum,
        "form": row.form_schema,
        "decisions": [_decision(row, d, veil) for d in row.decisions.all()],
        "created_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "closed_at": iso(row.closed_at),
        "previous": row.previous_id,
    }


def _decision(row: ApprovalRequest, decision: Decision, veil: Veil) -> dict[str, Any]:
    return {
        "by": name_of(decision.person),
        "decision": decision.verdict,
        "digest": decision.digest,
        "comment": veil.text(decision.comment),
        "form": form_of(row, decision, veil),
        "at": iso(decision.at),
    }
