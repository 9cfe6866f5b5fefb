"""What pages and the API show of schedules: next times, what came of the last ones. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from flows.definition.cron import CronError, next_times, zone_of
from resources.access import Actor, folder_filter
from runs.schedules.models import Schedule, ScheduledTime

SHOWN = 5  # next times
RECENT = 20  # past ones


def visible_schedules(actor: Actor) -> QuerySet[Schedule]:
    """Those of live releases in folders the actor may view, by flow and name, each with `last_id`."""
    last = ScheduledTime.objects.filter(schedule=OuterRef("pk")).order_by("-due_at", "-pk").values("pk")
    rows = Schedule.objects.filter(folder_filter(actor, "viewer", "flow__folder"), retired_at=None)
    return rows.select_related("flow").annotate(last_id=Subquery(last[:1])).order_by("flow__slug", "name")


def last_times(schedules: Iterable[Any]) -> dict[int, ScheduledTime]:
    """The latest due time of each that something came of; one query."""
    ids = [s.last_id for s in schedules if s.last_id is not None]
    return {row.schedule_id: row for row in ScheduledTime.objects.filter(pk__in=ids)}


def recent_times(schedule: Schedule) -> list[ScheduledTime]:
    return list(schedule.times.select_related("asked_by").order_by("-due_at", "-pk")[:RECENT])


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
