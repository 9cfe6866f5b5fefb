"""The rows of schedules: locked, looked at, brought up to date. Everything here runs in the caller's transaction.

Locks: the flow's row, then the schedule's, then whatever a start or a cancel locks.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from django.db.models import Exists, OuterRef, QuerySet

from flows.models import Flow
from resources import audit
from resources.access import Actor
from runs.models import ENDED, Run, RunStatus
from runs.schedules.models import Schedule, ScheduledTime
from runs.schedules.policy import Busy, Timing

State, Cause = ScheduledTime.State, ScheduledTime.Cause
#: the columns that time and people change; the others follow the live release
STANDING: Final = [
    "due_at", "wake_at", "paused_at", "paused_by", "paused_note", "failures", "waiting", "problem",
]  # fmt: skip
#: of a ScheduledTime: its run has ended, or is no longer kept
_ENDED: Final = ~Exists(Run.objects.filter(pk=OuterRef("run_id")).exclude(status__in=ENDED))
ITSELF: Final = "schedule"  # who paused it, where it did so itself


def read(pk: int) -> Schedule | None:
    """The schedule with its flow, not locked."""
    return _rows().filter(pk=pk).first()


def lock(schedule: Schedule) -> Schedule:
    """The same row, locked and fresh. Its flow comes first, as it does where a release goes live."""
    Flow.objects.select_for_update(no_key=True).filter(pk=schedule.flow_id).values_list("pk").first()
    return _rows().select_for_update(of=("self",)).get(pk=schedule.pk)


def try_lock(schedule: Schedule) -> Schedule | None:
    """The same, or None where somebody has it now. (On SQLite one waits for one's turn to write.)"""
    free = Flow.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=schedule.flow_id)
    return lock(schedule) if free.values_list("pk").first() else None


def _rows() -> QuerySet[Schedule]:
    return Schedule.objects.select_related("flow__live").defer("flow__live__source", "flow__live__plan_json")


def timing_of(schedule: Schedule) -> Timing:
    identity = f"{schedule.flow_id}/{schedule.name}"
    return Timing(identity, schedule.cron, schedule.timezone, schedule.catchup, schedule.jitter)


def busy_of(schedule: Schedule) -> Busy:
    """What it has going. Where runs may overlap, only what bounds a backfill is counted."""
    rows = schedule.times.exclude(_ENDED).filter(open=True)
    if schedule.overlap == "allow_all":
        return Busy(backfilling=rows.filter(cause=Cause.BACKFILL).count())
    by_cause = Counter(rows.values_list("cause", flat=True))
    backfilling = by_cause.pop(Cause.BACKFILL, 0)
    waiting = schedule.times.filter(state=State.WAITING).exclude(cause=Cause.BACKFILL).count()
    return Busy(sum(by_cause.values()), backfilling, waiting)


def first_waiting(schedule: Schedule) -> ScheduledTime | None:
    """Whose turn it is: due times before backfills; of a paused schedule only what a person asked for by hand."""
    rows = schedule.times.filter(state=State.WAITING).select_related("asked_by").order_by("due_at", "pk")
    if schedule.paused_at is not None:
        return rows.filter(cause=Cause.MANUAL).first()
    return rows.exclude(cause=Cause.BACKFILL).first() or rows.first()


def has_ended(schedule: Schedule) -> bool:
    """Whether one of its runs ended that nobody took note of."""
    return schedule.times.filter(_ENDED, open=True).exists()


def settle(schedule: Schedule, now: float) -> None:
    """Take note of its runs that ended: a success forgets failures, enough failures in a row pause it."""
    ended = dict(schedule.times.filter(_ENDED, open=True).values_list("pk", "run_id"))
    if not ended:
        return
    runs = Run.objects.filter(pk__in=ended.values()).order_by("ended_at").values_list("pk", "status")
    for run_id, status in runs:
        if status == RunStatus.SUCCEEDED:
            schedule.failures = 0
        elif status in (RunStatus.FAILED, RunStatus.TIMED_OUT):
            count_failure(schedule, now, f"run {run_id}")
    # looked at again: a person may have reopened one just now
    ScheduledTime.objects.filter(_ENDED, pk__in=ended).update(open=False)


def count_failure(schedule: Schedule, now: float, what: str) -> None:
    schedule.failures += 1
    allowed = schedule.pause_on_failure
    if allowed and schedule.failures >= allowed and schedule.active:
        many = "A run failed" if allowed == 1 else f"{schedule.failures} runs in a row failed"
        pause(schedule, now, ITSELF, f"{many}; the last one: {what}."[:500])


def pause(schedule: Schedule, now: float, by: str, note: str) -> None:
    schedule.paused_at, schedule.paused_by, schedule.paused_note = now, by, note
    schedule.wake_at = None


def close(schedule: Schedule, before: float | None) -> None:
    """Save where it stands, as the last statement of a transaction. `before`: `paused_at` at its begin."""
    schedule.waiting = schedule.times.filter(state=State.WAITING).count()
    schedule.save(update_fields=STANDING)
    if before is None and schedule.paused_at is not None:
        data = {"name": schedule.name, "note": schedule.paused_note}
        slug = schedule.flow.slug
        audit.record(
            actor=Actor.system(ITSELF), action="schedule.paused", object_type="flow", object_id=slug, data=data
        )


def drop(rows: QuerySet[ScheduledTime], now: float, why: str) -> int:
    """Times that wait will not be started."""
    return rows.filter(state=State.WAITING).update(state=State.SKIPPED, detail=why[:500], at=now)
