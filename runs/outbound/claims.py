"""Which deliveries a keeper takes, and what becomes of them. A lease and a fence, as in the queue of the steps.

Claiming locks the subscription, so that no endpoint gets more than its share at once however many keepers there are.
Lock order: subscription, deliveries.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from resources import audit
from resources.access import Actor
from runs.models import Delivery, Subscription
from runs.outbound.policy import GONE, MAX_ATTEMPTS, Answer, after

#: deliveries of one subscription that are under way at once
AT_ONCE: Final = 8
#: attempts whose outcome is kept with a delivery
KEPT_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt that is over. `withheld`: nothing was sent, and nothing will be until a person replays it."""

    delivery: int
    fence: int
    answer: Answer
    seconds: float = 0.0
    excerpt: str = ""
    withheld: bool = False


def lease() -> float:
    """Seconds; longer than any attempt takes."""
    return 2 * float(settings.OUTBOUND_TIMEOUT_SECONDS) + 1


def claim(owner: str, room: int, now: float) -> list[Delivery]:
    """At most `room` deliveries that are due, with their subscriptions; never more than AT_ONCE of one endpoint."""
    due = Delivery.objects.filter(subscription=OuterRef("pk"), wake_at__lte=now)
    waiting = list(Subscription.objects.filter(Exists(due), enabled=True).values_list("pk", flat=True))
    random.shuffle(waiting)  # where there is too little room for all, it goes to each in turn
    taken: list[Delivery] = []
    for pk in waiting:
        if len(taken) < room:
            taken += _claim_of(pk, owner, room - len(taken), now)
    return taken


@transaction.atomic
def _claim_of(pk: int, owner: str, room: int, now: float) -> list[Delivery]:
    subscription = (
        Subscription.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("owner")
        .filter(pk=pk, enabled=True)
        .first()
    )
    if subscription is None:
        return []
    rows = Delivery.objects.filter(subscription=subscription)
    room = min(room, AT_ONCE - rows.filter(wake_at__gt=now).exclude(owner="").count())
    if room <= 0:
        return []
    due = rows.filter(wake_at__lte=now).order_by("wake_at", "pk").select_for_update(skip_locked=True)
    found = [_taken(row, subscription, owner, now) for row in due[:room]]
    return [row for row in found if row.status == Delivery.Status.PENDING]


def _taken(row: Delivery, subscription: Subscription, owner: str, now: float) -> Delivery:
    if row.owner:
        _note(row, now, Answer(None, "Whoever sent it vanished before the answer."), 0.0)
    if row.attempts >= MAX_ATTEMPTS:
        _end(row, Delivery.Status.DEAD, now)
    else:
        row.owner, row.wake_at, row.attempts = owner, now + lease(), row.attempts + 1
    row.fence += 1
    row.save(update_fields=["owner", "wake_at", "attempts", "fence", "status", "ended_at", "tries", *_LAST])
    row.subscription = subscription
    return row


_LAST: Final = ("last_status", "last_error")


@transaction.atomic
def record(owner: str, batch: Sequence[Sent], now: float, dice: Callable[[], float]) -> None:
    """What became of attempts, in one commit. Changes nothing where another keeper has taken a delivery over."""
    gone = [sent.delivery for sent in batch if sent.answer.status == GONE]
    if gone:  # it will be paused
        list(Subscription.objects.select_for_update(of=("self",)).filter(deliveries__in=gone).order_by("pk"))
    for sent in batch:
        _record_one(owner, sent, now, dice())


def _record_one(owner: str, sent: Sent, now: float, dice: float) -> None:
    row = Delivery.objects.select_for_update().filter(pk=sent.delivery, owner=owner, fence=sent.fence).first()
    if row is None:
        return
    _note(row, now, sent.answer, sent.seconds)
    row.excerpt = sent.excerpt
    following = after(sent.answer, attempts=row.attempts, since=row.since, now=now, dice=dice)
    if sent.withheld:
        _end(row, Delivery.Status.DEAD, now)
    elif following.at is None:
        _end(row, Delivery.Status(following.status), now)
    else:
        row.owner, row.wake_at = "", following.at
    row.save(update_fields=["owner", "wake_at", "status", "ended_at", "tries", "excerpt", *_LAST])
    if following.pause:
        _pause(row.subscription)


def _note(row: Delivery, now: float, answer: Answer, seconds: float) -> None:
    row.last_status, row.last_error = answer.status, answer.error[:500]
    one: dict[str, Any] = {
        "at": now,
        "status": answer.status,
        "error": answer.error[:500],
        "seconds": round(seconds, 3),
    }
    row.tries = [*row.tries, one][-KEPT_TRIES:]


def _end(row: Delivery, status: str, now: float) -> None:
    row.status, row.owner, row.wake_at, row.ended_at = status, "", None, now


def _pause(subscription: Subscription) -> None:
    subscription.enabled, subscription.note = False, "The endpoint answered 410 Gone: it wants no more events."
    subscription.save(update_fields=["enabled", "note"])
    audit.record(
        actor=Actor.system("keeper"),
        action="subscription.paused",
        object_type="subscription",
        object_id=subscription.name,
        data={"reason": subscription.note},
    )
