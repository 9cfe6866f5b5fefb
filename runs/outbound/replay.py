"""Sending again: one delivery, the dead letters, or all from a point in the history. The webhook-id stays the same."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import QuerySet

from resources import audit
from resources.access import Actor, require
from resources.errors import BadInput, NotFound
from resources.models import Role
from runs import clock
from runs.models import Delivery, Subscription
from runs.outbound.history import id_before
from runs.outbound.types import bad_patterns, matching

MOST_IDS = 1_000


@transaction.atomic
def replay_deliveries(*, actor: Actor, name: str, deliveries: Sequence[int]) -> int:
    """Those that ended, delivered or dead, once more; gives how many. Raises NotAllowed, NotFound, BadInput."""
    row = _locked(actor, name)
    if not 0 < len(deliveries) <= MOST_IDS:
        raise BadInput(f"Name 1 to {MOST_IDS} deliveries.")
    rows = row.deliveries.filter(pk__in=deliveries)
    if rows.count() != len(set(deliveries)):
        raise NotFound(f"{name} has no such delivery.", code="delivery_not_found")
    count = _again(rows)
    _record(actor, name, {"deliveries": sorted(set(deliveries)), "count": count})
    return count


@transaction.atomic
def replay_dead(*, actor: Actor, name: str, types: Sequence[str] = (), dry_run: bool = False) -> int:
    """All dead letters, or those of these patterns; gives how many. Raises NotAllowed, NotFound, BadInput."""
    row = _locked(actor, name)
    if bad := bad_patterns(types):
        message = f"No event has the type {bad[0]!r}."
        raise BadInput(message, details=[{"path": "types", "message": message}])
    rows = row.deliveries.filter(status=Delivery.Status.DEAD)
    if types:
        rows = rows.filter(type__in=matching(types))
    if dry_run:
        return rows.count()
    count = _again(rows)
    _record(actor, name, {"dead": list(types) or ["*"], "count": count})
    return count


@transaction.atomic
def replay_since(*, actor: Actor, name: str, at: float) -> Subscription:
    """Everything that happened at `at` (epoch seconds) or later and that the subscription asks for now.

    What was sent is sent again; what never was, is. Raises NotAllowed, NotFound, BadInput for a time to come.
    """
    row = _locked(actor, name)
    now = clock.now()
    if not 0 <= at <= now:
        raise BadInput("The point lies ahead.", details=[{"path": "since", "message": "Give a time that has passed."}])
    _again(row.deliveries.filter(event__at__gte=at))
    row.since = min(row.since, at)
    row.cursor = min(row.cursor, id_before(at))
    row.save(update_fields=["since", "cursor"])
    _record(actor, name, {"since": at})
    return row


def _again(rows: QuerySet[Delivery]) -> int:
    now = clock.now()
    ended = rows.exclude(status=Delivery.Status.PENDING)
    return ended.update(status=Delivery.Status.PENDING, wake_at=now, since=now, attempts=0, owner="", ended_at=None)


def _locked(actor: Actor, name: str) -> Subscription:
    require(actor, Role.ADMIN)
    row = Subscription.objects.select_for_update().filter(name=name).first()
    if row is None:
        raise NotFound(f"There is no subscription {name}.", code="subscription_not_found")
    return row


def _record(actor: Actor, name: str, data: dict[str, object]) -> None:
    audit.record(actor=actor, action="subscription.replayed", object_type="subscription", object_id=name, data=data)
