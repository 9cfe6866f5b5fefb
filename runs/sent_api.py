"""API v1: what a run told people, by every channel."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema

from resources.api import declared, iso
from resources.notices import deliveries
from runs.api import visible_run
from runs.sensitive.rows import of_run
from runs.sensitive.veil import Veil

router = Router(tags=["runs"])


class RefusedOut(Schema):
    to: str
    said: str


class DigestOut(Schema):
    key: str
    messages: int = Field(description="How many went out, or will, as one.")
    due_at: str | None = Field(description="When it goes out or is tried again; null once it is over.")


class NoticeDeliveryOut(Schema):
    step: str
    item: int | None
    channel: str | None = Field(description="The connection; null in the product.")
    kind: Literal["in_app", "smtp", "apprise"]
    status: Literal["waiting", "sending", "sent", "failed", "unknown"] = Field(
        description="`unknown`: it may have gone out."
    )
    recipients: int
    refused: list[RefusedOut] = Field(description="Up to 20 recipients that were refused, or that nobody is.")
    message_id: str | None
    error: str | None
    at: str
    digest: DigestOut | None = Field(description="Of a message that goes out, or went out, together with others.")


class NoticeDeliveriesOut(Schema):
    items: list[NoticeDeliveryOut]


@router.get("/runs/{run_id}/deliveries", response=declared((200, NoticeDeliveriesOut)))
def list_deliveries(request: HttpRequest, run_id: str) -> dict[str, object]:
    """What the notify steps of a run sent, newest first, 200 at most."""
    run = visible_run(request, run_id)
    veil = of_run(run)
    return {"items": [_out(veiled(row, veil)) for row in deliveries.of_run(run.pk)]}


def _out(row: dict[str, Any]) -> dict[str, object]:
    digest = row["digest"]
    due = digest and {**digest, "due_at": iso(digest["due_at"])}
    return {**row, "at": iso(row["at"]), "digest": due}


def veiled(row: dict[str, Any], veil: Veil) -> dict[str, Any]:
    """A record of resources.notices.deliveries: what the other side said may quote what it was sent."""
    digest = row["digest"] and {**row["digest"], "key": veil.text(row["digest"]["key"])}
    return {**row, "error": veil.words(row["error"]), "refused": veil.words(row["refused"]), "digest": digest}
