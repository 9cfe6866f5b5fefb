"""What pages and the API show of schedules: next times, what came of the last ones. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery

from flows.definition.cron import CronError, next_times, zone_of
from resources.access import Actor, folder_filter
from resources.paging import decode_cursor, encode_cursor
from runs.schedules.models import Schedule, ScheduledTime

SHOWN = 5  # next times
RECENT = 20  # past ones at a time


def visible_schedules(actor: Actor) -> QuerySet[Schedule]:
    """Those of live releases in folders the actor may view, by flow and name, each with `last_id`."""
    last = ScheduledTime.objects.filter(schedule=OuterRef("pk")).order_by("-due_at", "-pk").values("pk")
    rows = Schedule.objects.filter(folder_filter(actor, "viewer", "flow__folder"), retired_at=None)
    return rows.select_related("flow").annotate(last_id=Subquery(last[:1])).order_by("flow__slug", "name")


def last_times(schedules: Iterable[Any]) -> dict[int, ScheduledTime]:
    """The latest due time of each that something came of; one query."""
    ids = [s.last_id for s in schedules if s.last_id is not None]
    return {row.schedule_id: row for row in ScheduledTime.objects.filter(pk__in=ids)}


def times_of(
    schedule: Schedule, *, state: str = "", cursor: str | None = None, limit: int = RECENT
) -> tuple[list[ScheduledTime], str | None]:
    """What came of its times, the latest first, and the cursor of those before. Raises BadInput `bad_cursor`."""
    rows = schedule.times.select_related("asked_by").order_by("-due_at", "-pk")
    rows = rows.filter(state=state) if state else rows
    if cursor:
        due_at, pk = decode_cursor(cursor, float, int)
        rows = rows.filter(Q(due_at__lt=due_at) | Q(due_at=due_at, pk__lt=min(pk, 2**62)))
    found = list(rows[: limit + 1])
    more = encode_cursor(found[limit - 1].due_at, found[limit - 1].pk) if len(found) > limit else None
    return found[:limit], more


def upcoming(schedule: Schedule, now: float) -> list[float]:
    """The next due times; where it is paused, those it would have. Empty where it cannot be worked on."""
    begin = now if schedule.due_at is None or not schedule.active else schedule.due_at - 1.0
    try:
        return next_times(schedule.cron, schedule.timezone, begin, SHOWN)
    except CronError:
        return []


def in_zone(at: float, zone: str) -> datetime:
    """A moment in a schedule's zone; in UTC where that zone is gone."""
    try:
        return datetime.fromtimestamp(at, zone_of(zone))
    except CronError:
        return datetime.fromtimestamp(at, UTC)
