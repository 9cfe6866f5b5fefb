"""From the history to deliveries: a subscription's cursor moves on and what it wants becomes rows, in one commit.

Nothing is lost: a cursor moves only together with the rows of what it passed. Any number of keepers do this; one
subscription is read by one of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.db import transaction

from resources.access import Actor, can, covers
from resources.models import Role
from runs.models import Delivery, RunEvent, Subscription
from runs.outbound.types import matching

#: deliveries made in one transaction, and ids of the history looked through for them
BATCH: Final = 1_000
SPAN: Final = 20_000
#: transactions of one subscription in one turn: the keeper has other duties
BATCHES: Final = 10
_COLUMNS: Final = ("id", "type", "run__flow__slug", "run__flow__folder")


def read_on(safe: int, now: float) -> bool:
    """Every subscription up to the entry `safe`, or as far as one turn goes; True while there is more."""
    behind = list(Subscription.objects.filter(cursor__lt=safe).order_by("cursor").values_list("pk", flat=True))
    more = False
    for pk in behind:
        more |= _catch_up(pk, safe, now)
    return more


def _catch_up(pk: int, safe: int, now: float) -> bool:
    return all(_one_batch(pk, safe, now) for _ in range(BATCHES))


@transaction.atomic
def _one_batch(pk: int, safe: int, now: float) -> bool:
    """True when there is more. Nothing is read for one that another keeper is reading, or that is gone."""
    subscription = (
        Subscription.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("owner")
        .filter(pk=pk, cursor__lt=safe)
        .first()
    )
    if subscription is None:
        return False
    upto = min(safe, subscription.cursor + SPAN)
    rows = RunEvent.objects.filter(
        id__gt=subscription.cursor, id__lte=upto, type__in=matching(subscription.types), at__gte=subscription.since
    )
    found = list(rows.order_by("id").values_list(*_COLUMNS)[:BATCH])
    Delivery.objects.bulk_create(
        [_delivery(subscription, row, now) for row in _wanted(subscription, found)], ignore_conflicts=True
    )
    subscription.cursor = found[-1][0] if len(found) == BATCH else upto
    subscription.save(update_fields=["cursor"])
    return subscription.cursor < safe


def _delivery(subscription: Subscription, row: tuple[Any, ...], now: float) -> Delivery:
    return Delivery(subscription=subscription, event_id=row[0], type=row[1], since=now, wake_at=now, created_at=now)


def _wanted(subscription: Subscription, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Of flows and folders that the subscription asks for, and that its owner may see now."""
    owner, seen = Actor.of_user(subscription.owner), dict[str, bool]()
    for row in rows:
        _, _, slug, folder = row
        if not asked_for(subscription, slug, folder):
            continue
        if folder not in seen:
            seen[folder] = can(owner, Role.VIEWER, folder)
        if seen[folder]:
            yield row


def asked_for(subscription: Subscription, slug: str, folder: str) -> bool:
    """By its lists of flows and folders; empty lists name all."""
    if subscription.flows and slug not in subscription.flows:
        return False
    return not subscription.folders or any(covers(granted, folder) for granted in subscription.folders)
