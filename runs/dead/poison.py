"""The keeper's duty: inputs that fail alike again and again go into quarantine by themselves.

Counted by the keeper from the runs that gave up, not where runs end. An input is put away after QUARANTINE_AFTER
failures of the same class and of the live release within a day, with no success of the same input among them; what
failed before it was last let go counts no more.
"""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Max, Min, OuterRef

from flows.definition.canonical import digest
from resources.access import Actor
from resources.errors import Conflict
from runs.dead.quarantine import put_in
from runs.models import InputFailure, Quarantine, Run, RunStatus
from runs.sensitive.rows import of_run

#: sealed inputs of runs that ended well that are looked at for one that gave up
OPENED: Final = 10_000
DAY: Final = 86_400.0
#: nothing was sent, because of others: no input is to blame
OF_OTHERS: Final = frozenset({"connect", "http_429", "rate_limited", "circuit_open", "budget", "deadlock"})
#: a run that gave up and may not be counted yet
WHEN: Final = """
EXISTS (SELECT 1 FROM runs_run r
         WHERE r.dead_at > (SELECT coalesce(max(ended_at), 0) FROM runs_inputfailure) - 120
           AND r.dead_at > %(now)s - 86400
           AND NOT EXISTS (SELECT 1 FROM runs_inputfailure f WHERE f.run_id = r.id AND f.ended_at = r.dead_at))
"""
#: seconds between two looks where nothing failed: for what is to be forgotten
EVERY: Final = 60.0
#: a run's end may be committed this many seconds after the moment it bears
OVERLAP: Final = 120.0
AT_ONCE: Final = 100
FORGOTTEN_AT_ONCE: Final = 500


def turn(now: float) -> float:
    """Count what failed since the last look; gives when to look again."""
    if not settings.QUARANTINE_AFTER:
        return now + EVERY
    found = _uncounted(now)
    for (_, mark), runs in _by_input(found).items():
        _count(mark, runs, now)
    _forget(now)
    return now if len(found) == AT_ONCE else now + EVERY


def _uncounted(now: float) -> list[Run]:
    newest = InputFailure.objects.aggregate(at=Max("ended_at"))["at"] or 0.0
    counted = InputFailure.objects.filter(run=OuterRef("pk"), ended_at=OuterRef("dead_at"))
    rows = Run.objects.filter(dead_at__gt=max(now - DAY, newest - OVERLAP)).exclude(Exists(counted))
    rows = rows.select_related("flow", "release").only(
        "input", "error", "error_class", "dead_at", "parent_id", "flow__slug", "flow__folder", "flow__live",
        "release__checksum", "release__version",
    )  # fmt: skip
    return list(rows.order_by("dead_at", "pk")[:AT_ONCE])


def _by_input(found: list[Run]) -> dict[tuple[int, str], list[Run]]:
    """(flow, digest of the input) -> its runs, the oldest first."""
    groups: dict[tuple[int, str], list[Run]] = {}
    for run in found:
        groups.setdefault((run.flow_id, digest(run.input)), []).append(run)
    return groups


@transaction.atomic
def _count(mark: str, runs: list[Run], now: float) -> None:
    """The failures of one input, counted and judged at once: a keeper that dies in between has done neither.

    One input a transaction, since the audit log's lock comes last.
    """
    rows = [
        InputFailure(
            run_id=run.pk, ended_at=run.dead_at or now, flow_id=run.flow_id, digest=mark, error_class=run.error_class
        )
        for run in runs
    ]
    InputFailure.objects.bulk_create(rows, ignore_conflicts=True)
    live = [run for run in runs if run.release_id == run.flow.live_id]  # others say nothing about what starts now
    for run in {run.error_class: run for run in live if run.error_class not in OF_OTHERS}.values():
        _judge(run, mark, now)


def _judge(run: Run, mark: str, now: float) -> None:
    mine = Quarantine.objects.filter(flow_id=run.flow_id, digest=mark)
    released = mine.aggregate(at=Max("released_at"))["at"] or 0.0
    alike = InputFailure.objects.filter(
        flow_id=run.flow_id, digest=mark, error_class=run.error_class, ended_at__gt=max(now - DAY, released),
        run__release=run.release_id,
    )  # fmt: skip
    count = alike.count()
    if count < settings.QUARANTINE_AFTER or mine.filter(released_at__isnull=True).exists():
        return
    since = _last_success(run, alike.aggregate(at=Min("ended_at"))["at"])
    if since is not None:
        count = alike.filter(ended_at__gt=since).count()
    if count >= settings.QUARANTINE_AFTER:
        _put_in(run, mark, _reason(run, count))


def _put_in(run: Run, mark: str, reason: str) -> None:
    try:
        put_in(Actor.system("keeper"), run, mark, reason, this_release_only=True)
    except Conflict:
        return  # another release went live, or somebody put it in, since we looked


def _last_success(run: Run, since: float) -> float | None:
    """When a run with the very same input last ended well, after `since`; told by its text, key order included.

    The texts of sealed inputs cannot be compared: they are opened, the newest first.
    """
    rows = Run.objects.filter(flow_id=run.flow_id, created_at__gt=since - DAY, status=RunStatus.SUCCEEDED)
    rows = rows.filter(ended_at__gt=since)
    if settings.ENCRYPT_PAYLOADS:
        newest = rows.order_by("-ended_at").only("input", "ended_at")[:OPENED]
        return next((row.ended_at for row in newest.iterator(chunk_size=100) if row.input == run.input), None)
    found: float | None = rows.filter(input=run.input).aggregate(at=Max("ended_at"))["at"]
    return found


def _reason(run: Run, count: int) -> str:
    message = of_run(run).text(str((run.error or {}).get("message", "")))
    return f"It failed {count} times alike within a day: {run.error_class} {message}".strip()


def _forget(now: float) -> None:
    old = InputFailure.objects.filter(ended_at__lt=now - DAY).values_list("pk", flat=True)
    if gone := list(old[:FORGOTTEN_AT_ONCE]):
        InputFailure.objects.filter(pk__in=gone).delete()
