"""Places of a concurrency key. Starts and ends of its runs lock the key's counter row (rule 10 of the design).

Lock order: runs first, then this row; admitting another run is therefore a piece of work of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from django.db import connection
from django.db.models import F

from runs.models import LimitKey, Run, RunStatus, Work

#: runs of one key that are looked at together
MAX_LINE: Final = 1000
#: runs above one another that are looked at
MAX_DEPTH: Final = 100


def digest_of(flow_id: int, key: str) -> str:
    return hashlib.sha256(f"{flow_id}:{key}".encode()).hexdigest()


def lock(flow_id: int, digest: str, label: str) -> LimitKey:
    """The counter row, locked for the rest of the caller's transaction; made where it is new."""
    LimitKey.objects.bulk_create([LimitKey(flow_id=flow_id, digest=digest, label=label[:200])], ignore_conflicts=True)
    return LimitKey.objects.select_for_update().get(digest=digest)


def take(counter: LimitKey, limit: int) -> bool:
    """Take a place if one is free. The caller holds the row's lock."""
    if counter.active >= limit:
        return False
    counter.active += 1
    counter.save(update_fields=["active"])
    return True


def free(flow_id: int, digest: str, placed: bool, now: float) -> bool:
    """A run of the key ended: free its place and have the oldest queued run looked at. True when one waits."""
    if not digest:
        return False
    if placed:
        LimitKey.objects.filter(digest=digest, active__gt=0).update(active=F("active") - 1)
    return admit_oldest_later(digest, now)


def waiting(flow_id: int, digest: str, most: int = MAX_LINE) -> list[str]:
    """Ids of the runs in line for a key ("": of a flow without keys), the oldest first, `most` of them."""
    rows = Run.objects.filter(flow_id=flow_id, limit_key=digest, status=RunStatus.QUEUED, placed=False)
    return list(rows.order_by("created_at", "pk").values_list("pk", flat=True)[:most])


def holders(flow_id: int, digest: str) -> list[str]:
    """Ids of the runs that hold a place of the key, the oldest first."""
    rows = Run.objects.filter(flow_id=flow_id, ended_at__isnull=True, limit_key=digest, placed=True)
    return list(rows.order_by("created_at", "pk").values_list("pk", flat=True)[:MAX_LINE])


def would_deadlock(digest: str, parents: Sequence[str]) -> bool:
    """Would a run that has to wait for a place of this key wait for one of the runs above it?"""
    held = Run.objects.filter(pk__in=list(parents), limit_key=digest, placed=True, ended_at__isnull=True)
    return bool(digest) and held.exists()


def ancestors(run: Run | None) -> tuple[str, ...]:
    """Ids of this run and of those above it."""
    found: list[str] = []
    while run is not None and len(found) <= MAX_DEPTH:
        found.append(run.pk)
        run = run.parent
    return tuple(found)


def admit_oldest_later(digest: str, now: float) -> bool:
    """Have a worker look at the oldest queued run of a key. False where none waits."""
    waiting = Run.objects.filter(limit_key=digest, status=RunStatus.QUEUED, placed=False).order_by("created_at")
    run_id = waiting.values_list("id", flat=True).first()
    if run_id is not None:
        admit_later(run_id, now)
    return run_id is not None


def admit_later(run_id: str, now: float) -> None:
    """Have a worker try to admit queued runs of this run's key."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_work (kind, run_id, step, item, name, queue, long, wake_at, fence) "
            "VALUES (%s, %s, '', -1, '', 'default', false, %s, 0) "
            # a row somebody works on right now may have missed this place: have it looked at again
            "ON CONFLICT (run_id, step, item, kind, name) DO UPDATE SET "
            "wake_at = excluded.wake_at, owner = NULL, fence = runs_work.fence + 1",
            [Work.Kind.ADMIT, run_id, now],
        )
