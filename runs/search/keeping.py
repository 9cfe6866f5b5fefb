"""Keeping the index: what changed is read from the history, the audit log and the newest resources; every ten minutes
everything is compared, so that whatever was missed is mended, and what is gone is forgotten.

Never in the transaction of a change. Two keepers may do the same: an advisory lock lets one of them on PostgreSQL; on
SQLite there is one, and should there be two, both write the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from resources.ids import ulid
from resources.models import Artifact, AuditEntry
from runs.models import RunEvent, SearchEntry, SearchState
from runs.outbound.horizon import Horizon
from runs.search import comparing, documents, index

Kind = SearchEntry.Kind

#: seconds of one turn: the keeper has other duties
SLICE: Final = 0.1
#: seconds between two turns while there is more to do, between two comparisons, and while a writer is waited for
SOON: Final = 0.05
COMPARE: Final = 600.0
#: objects of one step; ids of the history, and entries of the audit log, looked through for them
BATCH: Final = 50
SPAN: Final = 10_000
#: a resource may be committed so many seconds after its id was made
LATE: Final = 120.0
#: entries of the history that change what is indexed of a run
TYPES: Final = (
    "run.created", "run.succeeded", "run.failed", "run.cancelled", "run.timed_out", "run.reopened", "run.forked",
)  # fmt: skip
_KINDS: Final = {"flow": Kind.FLOW, "resource": Kind.RESOURCE, "connection": Kind.CONNECTION}
_LOCK: Final = 0x5EA2C4
WHEN: Final = (
    "NOT EXISTS (SELECT 1 FROM runs_searchstate s WHERE s.events >= (SELECT coalesce(max(id), 0) FROM runs_runevent) "
    "AND s.audit >= (SELECT coalesce(max(seq), 0) FROM resources_auditentry) "
    "AND s.resources >= (SELECT coalesce(max(id), '') FROM resources_artifact))"
)


class Duty:
    """The keeper's."""

    def __init__(self) -> None:
        self._horizon = Horizon()
        self._compared = 0.0
        self._comparing: Iterator[None] | None = None

    def turn(self, now: float) -> float:
        """Some of what there is to do; when to go on."""
        with one_at_a_time() as mine:
            more = mine and self._some(now)
        return now + (SOON if more or self._horizon.waiting else max(1.0, self._compared + COMPARE - now))

    def _some(self, now: float) -> bool:
        safe, end = self._horizon.look(), time.monotonic() + SLICE
        while time.monotonic() < end:
            if not step(safe, now):
                return self._compare(now, end)
        return True

    def _compare(self, now: float, end: float) -> bool:
        if self._comparing is None and now < self._compared + COMPARE and now >= self._compared:
            return False
        self._comparing, self._compared = self._comparing or comparing.all_kinds(), now
        for _ in self._comparing:
            if time.monotonic() >= end:
                return True
        self._comparing = None
        return False


@contextmanager
def one_at_a_time() -> Iterator[bool]:
    """False: another process is at it."""
    if connection.vendor != "postgresql":
        yield True
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            yield False
            return
    try:
        yield True
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def refresh(kind: str, ids: list[str]) -> None:
    """What is there is indexed as it is now; what is gone is forgotten."""
    found = documents.of(kind, ids)
    index.put(found)
    if gone := sorted(set(ids) - {document.object_id for document in found}):
        index.drop(kind, gone)


def step(safe: int, now: float) -> bool:
    """One batch of each; is there more? `safe`: how far the history may be read."""
    state, _ = SearchState.objects.get_or_create(pk=1)
    # `|`, not `or`: each gets its turn
    return _history(state, safe) | _audited(state) | _resources(state, now)


def _history(state: SearchState, safe: int) -> bool:
    if state.events >= safe:
        return False
    upto = min(safe, state.events + SPAN)
    rows = RunEvent.objects.filter(id__gt=state.events, id__lte=upto, type__in=TYPES).order_by("id")
    found = list(rows.values_list("id", "run_id")[:BATCH])
    refresh(Kind.RUN, list(dict.fromkeys(run for _, run in found)))
    _passed(state, "events", found[-1][0] if len(found) == BATCH else upto)
    return state.events < safe


def _audited(state: SearchState) -> bool:
    """Its numbers have no gaps, and a larger one is committed later."""
    rows = AuditEntry.objects.filter(seq__gt=state.audit).order_by("seq").values_list("seq", "object_type", "object_id")
    found = list(rows[:BATCH])
    for name, kind in _KINDS.items():
        if ids := list(dict.fromkeys(pk for _, type_, pk in found if type_ == name)):
            refresh(kind, ids)
    if found:
        _passed(state, "audit", found[-1][0])
    return len(found) == BATCH


def _resources(state: SearchState, now: float) -> bool:
    """Those of runs, too, which nobody audits. Ids begin with their time, and are seen a little later."""
    since = min(state.resources, ulid(max(0.0, now - LATE), 0))
    rows = missing(Artifact.objects.filter(pk__gt=since, condemned_at__isnull=True))
    found = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
    if found:
        refresh(Kind.RESOURCE, found)
    newest = Artifact.objects.order_by("-pk").values_list("pk", flat=True).first() or ""
    upto = found[-1] if len(found) == BATCH else newest
    if upto > state.resources:
        _passed(state, "resources", upto)
    return len(found) == BATCH


def missing(rows: QuerySet[Artifact]) -> QuerySet[Artifact]:
    return rows.exclude(Exists(SearchEntry.objects.filter(kind=Kind.RESOURCE, object_id=OuterRef("pk"))))


def _passed(state: SearchState, name: str, upto: int | str) -> None:
    setattr(state, name, upto)
    state.save(update_fields=[name])
