"""The record of what went out: written before and after, so that no message goes out twice by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from resources.models import NoticeDelivery, NoticeDigest

Json = Any
IN_APP = "in_app"
_ERROR: Any = NoticeDelivery._meta.get_field("error")
_REFUSED: Any = NoticeDelivery._meta.get_field("refused")
_MAX_REFUSED = 20  # recipients listed


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the step of a run, and its idempotency key."""

    key: str
    run_id: str
    step: str
    item: int | None


def begin(sender: Sender, *, channel: str, kind: str, recipients: int, now: float, repeat: bool) -> str | None:
    """ "" to send now; else what became of it before: sent, or unknown.

    An attempt that began and never said how it ended leaves an unknown outcome. That is sent again only with `repeat`,
    and only once somebody was told: the attempt that finds it says unknown, the next one sends.
    """
    with transaction.atomic():
        row = NoticeDelivery.objects.select_for_update().filter(key=sender.key, channel=channel).first()
        if row is None:
            NoticeDelivery.objects.create(
                key=sender.key, channel=channel, kind=kind, run_id=sender.run_id, step=sender.step, item=sender.item,
                status="sending", recipients=recipients, at=now,
            )  # fmt: skip
            return ""
        if row.status == "sent" or (row.status == "unknown" and not repeat):
            return row.status
        found, row.status = row.status, "unknown" if row.status == "sending" else "sending"
        if found == "sending":
            row.error = "An attempt ended before it could say whether this was sent."
        row.save(update_fields=["status", "error"])
        return "unknown" if found == "sending" else ""


def end(
    sender: Sender, *, channel: str, status: str, now: float, error: str = "", message_id: str = "",
    refused: Iterable[Json] = (),
) -> None:  # fmt: skip
    """How it ended. A row that another attempt has taken for lost is put right."""
    said, names = _ERROR.of_row(error[:500], sender.key, channel), list(refused)[:_MAX_REFUSED]
    NoticeDelivery.objects.filter(key=sender.key, channel=channel).update(
        status=status, at=now, error=said, message_id=message_id, refused=_REFUSED.of_row(names, sender.key, channel)
    )


def of_step(key: str) -> list[dict[str, Json]]:
    """What the step with this key did, as its output shows it: the product first."""
    rows = NoticeDelivery.objects.filter(key=key).select_related("digest")
    return [shown(row) for row in rows.order_by("channel")]


def of_run(run_id: str, step: str = "") -> list[dict[str, Json]]:
    """What a run, or one step of it, sent, newest first; at most 200."""
    rows = NoticeDelivery.objects.filter(run_id=run_id).select_related("digest")
    rows = rows.filter(step=step) if step else rows
    return [{"step": row.step, "item": row.item, **shown(row)} for row in rows.order_by("-at", "-pk")[:200]]


def shown(row: NoticeDelivery) -> dict[str, Json]:
    return {
        "channel": row.channel or None,
        "kind": row.kind,
        "status": row.status,
        "recipients": row.recipients,
        "refused": row.refused,
        "message_id": row.message_id or None,
        "error": row.error or None,
        "at": row.at,
        "digest": None if row.digest is None else _digest(row.digest),
    }


def _digest(row: NoticeDigest) -> dict[str, Json]:
    """`due_at`: when it goes out, or is tried again; None once it is over."""
    return {"key": row.key, "messages": row.count, "due_at": None if row.ended_at is not None else row.due_at}
