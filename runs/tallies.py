"""How many runs of which status were started when: counted once, for a page's chips and its chart."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Count, F, QuerySet
from django.db.models.functions import Floor

from runs.filters import CHIPS, OPEN, RANGES, Asked, narrowed
from runs.models import ENDED, Run, WaitToken

#: (bucket, status, degraded) -> number of runs; bucket -1 is what was started before the first and has not ended
Tally = dict[tuple[int, str, bool], int]


def since(rows: QuerySet[Run], start: float, width: float) -> Tally:
    """The runs of `rows` started since `start` (epoch seconds), in buckets of `width` seconds.

    Read from the index `run_recent` alone, unless `rows` are narrowed by what it does not hold.
    """
    rows = rows.filter(created_at__gte=start).annotate(bucket=Floor((F("created_at") - start) / width))
    found = rows.values_list("bucket", "status", "degraded").annotate(n=Count("*"))
    return {(int(bucket), status, degraded): n for bucket, status, degraded, n in found}


def in_scope(rows: QuerySet[Run], asked: Asked, now: float, buckets: int) -> Tally:
    """What `filters.in_scope` lets through. Two questions, since no index answers both at once."""
    rows, span = narrowed(rows, asked), RANGES[asked.range]
    older = rows.filter(created_at__lt=now - span, status__in=OPEN)
    found = older.values_list("status", "degraded").annotate(n=Count("*"))
    return since(rows, now - span, span / buckets) | {(-1, s, degraded): n for s, degraded, n in found}


def on_people(rows: QuerySet[Run]) -> dict[str, int]:
    """Status -> how many of `rows` wait for a person. Asked from the approvals, which are few."""
    approvals = WaitToken.objects.filter(kind="approval", status=WaitToken.Status.OPEN)
    found = rows.filter(pk__in=approvals.values("run_id")).values_list("status").annotate(n=Count("pk"))
    return dict(found)


def outcomes(tally: Tally) -> dict[tuple[int, str], int]:
    """(bucket, status) -> number of runs that ended, by when they were started."""
    found: dict[tuple[int, str], int] = {}
    for (bucket, status, _), n in tally.items():
        if status in ENDED:
            found[bucket, status] = found.get((bucket, status), 0) + n
    return found


def of_chips(tally: Tally, on_people: Mapping[str, int]) -> dict[str, int]:
    """Chip -> number of runs, and "" for all."""
    by_status: dict[str, int] = {}
    for (_, status, _), n in tally.items():
        by_status[status] = by_status.get(status, 0) + n
    found = {"": sum(by_status.values()), "degraded": sum(n for (_, _, degraded), n in tally.items() if degraded)}
    for chip, statuses in CHIPS.items():
        human = sum(on_people.get(s, 0) for s in statuses)
        if chip == "human":
            found[chip] = human
        elif chip not in found:
            found[chip] = sum(by_status.get(s, 0) for s in statuses) - (human if chip == "waiting" else 0)
    return found
