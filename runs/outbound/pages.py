"""What the pages and the API show of deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.timezone import get_current_timezone

from resources.access import Actor, folders_for
from resources.errors import BadInput, NotFound
from resources.models import Role
from resources.paging import decode_cursor, encode_cursor
from runs.models import Delivery
from runs.outbound import subscriptions
from runs.outbound.horizon import last_id

_LARGE = ("subscription__key", "subscription__old_key", *(f"event__run__{n}" for n in ("input", "output", "trigger")))
_PLAN = ("event__run__release__source", "event__run__release__plan_json")


def page_of_deliveries(name: str, *, status: str, cursor: str | None, limit: int) -> tuple[list[Delivery], str | None]:
    """Newest first, without what they carry. Raises NotFound, BadInput `bad_cursor`."""
    rows = _rows(name).defer(*_LARGE, *_PLAN, "tries", "excerpt", "event__data")
    if status:
        rows = rows.filter(status=status)
    if cursor:
        (last,) = decode_cursor(cursor, int)
        rows = rows.filter(pk__lt=min(last, 2**62))
    found = list(rows.order_by("-pk")[: limit + 1])
    items = found[:limit]
    return items, encode_cursor(items[-1].pk) if len(found) > limit else None


def delivery_of(name: str, delivery_id: int) -> Delivery:
    """With its event, run, flow and release. Raises NotFound."""
    row = _rows(name).defer(*_LARGE, *_PLAN).filter(pk=delivery_id).first() if delivery_id < 2**62 else None
    if row is None:
        raise NotFound(f"{name} has no such delivery.", code="delivery_not_found")
    return row


def _rows(name: str) -> QuerySet[Delivery]:
    subscription = subscriptions.get_subscription(name)
    rows = Delivery.objects.filter(subscription=subscription.pk)
    return rows.select_related("subscription", "event__run__flow", "event__run__release")


def sentence(row: Any) -> str:
    """Where a subscription sends, for people."""
    if row.url:
        return str(row.url)
    return f"{row.connection}, {row.path or '/'}"


_LOOKS = {"pending": "queued", "delivered": "succeeded", "dead": "dead"}
_STATUSES = ("pending", "delivered", "dead")
#: seconds a delivery may be overdue before the page asks whether a keeper runs
OVERDUE = 60.0
PAGE = 25


def look_of(row: Delivery) -> tuple[str, str]:
    """(state of the design system, word)."""
    if row.status == Delivery.Status.PENDING and row.owner:
        return "running", "Being sent"
    if row.status == Delivery.Status.PENDING and row.attempts:
        return "waiting", "Tried again later"
    return _LOOKS[row.status], str(row.get_status_display())


def subscription_page(name: str, status: str, cursor: str, now: float) -> dict[str, Any]:
    """What subscriptions/show.html shows. Raises NotFound, BadInput."""
    row = subscriptions.get_subscription(name)
    status = status if status in _STATUSES else ""
    items, following = page_of_deliveries(name, status=status, cursor=cursor or None, limit=PAGE)
    due = Delivery.objects.filter(subscription=row.pk, wake_at__lt=now - OVERDUE).exists()
    owner = Actor.of_user(row.owner)
    return {
        "row": row,
        "where": sentence(row),
        "now": now,
        "deliveries": [(item, *look_of(item)) for item in items],
        "next": following,
        "status": status,
        "statuses": _STATUSES,
        "late": row.enabled and due,
        "blind": folders_for(owner, Role.VIEWER) == [],
        "rotating": row.old_until is not None and row.old_until > now,
        "unread": last_id() > row.cursor,
    }


def moment_of(text: str) -> float:
    """Epoch seconds of what <input type="datetime-local"> sends, in the server's time zone. Raises BadInput."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=get_current_timezone()).timestamp()
    except (ValueError, OverflowError):
        raise BadInput("Give a day and a time.") from None
