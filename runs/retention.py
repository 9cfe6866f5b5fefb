"""Deleting what is old: whole ended runs, where RETENTION_DAYS says so, delivered events after a week, and
key-values when they expire.

A run goes after its last entry was passed by every subscription and none of its events is still to be delivered. Its
start key, its tokens and its idempotency keys stay for 30 days more, so that a late repeat is recognised; the audit
log stays for ever.
"""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from resources import audit, keeping, kv
from resources.access import Actor
from resources.models import KvWrite
from runs.models import Delivery, GoneRun, Run, RunEvent, StartKey, StepRun, Subscription, WaitToken, Work

DAY: Final = 86_400.0
#: seconds between two looks while nothing is left to do
PAUSE: Final = 60.0
#: runs, or other rows, deleted in one transaction
BATCH: Final = 50
ROWS: Final = 500
#: what outlives a run, and for how long
REMEMBERED: Final = 30 * DAY
#: how long a delivered event is listed
DELIVERED: Final = 7 * DAY


def run(now: float) -> float:
    """The keeper's duty: one batch of each; when to look again."""
    days = float(settings.RETENTION_DAYS)
    gone = delete_runs(ended_before=now - days * DAY, now=now) if days else 0
    full = gone == BATCH
    full |= forget_gone(now) == BATCH
    full |= delete_delivered(now) == ROWS
    full |= kv.forget(now) == kv.BATCH
    return now if full else now + PAUSE


def deletable(ended_before: float) -> QuerySet[Run]:
    """Ended runs, the oldest first, that nobody still has to be told about."""
    passed = Subscription.objects.aggregate(at=Min("cursor"))["at"]
    runs = Run.objects.filter(created_at__lt=ended_before, ended_at__lt=ended_before)
    events = RunEvent.objects.filter(run=OuterRef("pk"))
    if passed is not None:
        runs = runs.exclude(Exists(events.filter(id__gt=passed)))
    pending = Delivery.objects.filter(event__run=OuterRef("pk"), status=Delivery.Status.PENDING)
    return runs.exclude(Exists(pending)).order_by("created_at")


@transaction.atomic
def delete_runs(*, ended_before: float, now: float) -> int:
    """At most BATCH runs with all that belongs to them; gives how many."""
    # locked, so that a retry or a decision that begins at this moment finds them whole or not at all
    found = list(
        deletable(ended_before).select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)[:BATCH]
    )
    if not found:
        return 0
    GoneRun.objects.bulk_create([GoneRun(run_id=pk, gone_at=now) for pk in found], ignore_conflicts=True)
    Delivery.objects.filter(event__run__in=found).delete()
    for table in (Work, StepRun):
        table._default_manager.filter(run__in=found).delete()
    keeping.release_run_resources(found, now)
    Run.objects.filter(pk__in=found).delete()  # the history and what other apps keep of them go with them
    audit.record(
        actor=Actor.system("retention"),
        action="runs.deleted",
        object_type="run",
        object_id=found[0],
        data={"runs": found, "ended_before": ended_before},
    )
    return len(found)


@transaction.atomic
def forget_gone(now: float) -> int:
    """What outlived runs that are gone for 30 days; gives how many runs' worth of it."""
    old = GoneRun.objects.filter(gone_at__lt=now - REMEMBERED).order_by("gone_at")
    found = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH])
    if not found:
        return 0
    StartKey.objects.filter(run_id__in=found).delete()
    WaitToken.objects.filter(run_id__in=found).delete()
    keys = Q()
    for pk in found:
        keys |= Q(idempotency_key__startswith=f"{pk}:")
    KvWrite.objects.filter(keys).delete()
    GoneRun.objects.filter(pk__in=found).delete()
    return len(found)


@transaction.atomic
def delete_delivered(now: float) -> int:
    """Delivered events, and tests, of more than a week ago; gives how many."""
    old = Q(status=Delivery.Status.DELIVERED) | Q(status=Delivery.Status.DEAD, event__isnull=True)
    rows = Delivery.objects.filter(old, ended_at__lt=now - DELIVERED)
    found = list(rows.values_list("pk", flat=True)[:ROWS])
    Delivery.objects.filter(pk__in=found).delete()
    return len(found)
