"""What a keeper does for schedules: starts what is due, and what waited for its turn.

A due time is one transaction: the schedule's row locked, its start written, its next time set. Whatever kills the
process, the next one finds it done or not done. A start that is refused is kept with its reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, OuterRef, Q

from flows.definition.cron import CronError, scheduled, utc_text
from flows.definition.expr import ExprError
from flows.definition.lint_schedules import input_of
from resources.access import Actor
from resources.errors import Conflict, NotFound, OrchestraError
from runs import actions, controls, store
from runs.models import ENDED, Run, RunStatus
from runs.schedules import book, policy
from runs.schedules.book import Cause, State
from runs.schedules.models import Schedule, ScheduledTime

Json = Any
logger = logging.getLogger(__name__)

#: what is due, or about to be; what waits for its turn; what a failed run may pause
WHEN: Final = """
EXISTS (SELECT 1 FROM runs_schedule WHERE wake_at <= %(now)s + 1)
OR EXISTS (SELECT 1 FROM runs_schedule WHERE waiting > 0)
OR EXISTS (SELECT 1 FROM runs_schedule s JOIN runs_scheduledtime t ON t.schedule_id = s.id
            WHERE s.pause_on_failure > 0 AND t.open)
"""
#: schedules looked at in one turn, and times of one schedule before the others have theirs
MANY: Final = 200
TIMES_A_TURN: Final = 10
#: starts of one schedule a turn out of what waits: a backfill never floods the queue
STARTS_A_TURN: Final = 5
#: seconds until a turn where a time waits for the end of a run
WAIT: Final = 1.0
#: seconds until the next turn where more is due: others have theirs meanwhile
MOMENT: Final = 0.02
#: seconds until a schedule that broke is tried again
AFTER_ERROR: Final = 60.0


def turn(now: float) -> float | None:
    """Everything that is due at `now`. Gives when the next time is."""
    more = False
    due = Schedule.objects.filter(wake_at__lte=now).order_by("wake_at").values_list("pk", flat=True)
    for pk in list(due[:MANY]):
        more |= _guarded(fire, pk, now)
    waits = _with_something_to_do()
    for pk in waits:
        _guarded(tend, pk, now)
    if more:
        return now + MOMENT
    wakes = Schedule.objects.filter(wake_at__isnull=False).order_by("wake_at").values_list("wake_at", flat=True)
    soonest = wakes.first()
    return min(soonest or now + WAIT, now + WAIT) if waits else soonest


def _with_something_to_do() -> list[int]:
    """Schedules whose times wait, and those that a failed run may pause."""
    ended = Exists(Run.objects.filter(pk=OuterRef("run_id"), status__in=ENDED))
    failing = ScheduledTime.objects.filter(ended, open=True, schedule__pause_on_failure__gt=0)
    wanted = set(failing.values_list("schedule_id", flat=True)[:MANY])
    return sorted(wanted | set(Schedule.objects.filter(waiting__gt=0).values_list("pk", flat=True)[:MANY]))


def _guarded(work: Callable[[Schedule, float], bool], pk: int, now: float) -> bool:
    """One schedule that breaks must not stop the others; a lost database stops them all, and is tried again."""
    schedule = book.read(pk)
    if schedule is None:
        return False
    try:
        return work(schedule, now)
    except (OperationalError, InterfaceError):
        raise
    except CronError as error:
        logger.warning("schedule %s cannot be worked on: %s", schedule, error)
        _say_broken(schedule, str(error), now)
        return False
    except Exception as error:  # said on the schedule's page and in the log, tried again later
        logger.exception("schedule %s broke", schedule)
        _say_broken(schedule, f"An error inside of Orchestra: {type(error).__name__}.", now)
        return False


def _say_broken(schedule: Schedule, said: str, now: float) -> None:
    row = Schedule.objects.filter(pk=schedule.pk)
    row.update(problem=f"{said} It is tried again every minute."[:500])
    row.filter(wake_at__isnull=False).update(wake_at=now + AFTER_ERROR)


# -- a start ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Prepared:
    """What a start needs, made outside of the transaction. `problem`: why there is no input."""

    release_id: int | None
    seen: dict[str, Json] = field(default_factory=dict)
    given: Json = None
    problem: str = ""


def prepare(schedule: Schedule, due_at: float, cause: str) -> Prepared:
    """Resolves the trigger's expressions. Raises CronError where the time zone is gone."""
    release_id = schedule.flow.live_id
    trigger = store.plan_of(release_id).trigger(schedule.name) if release_id else None
    if trigger is None or trigger.kind != "schedule":
        return Prepared(release_id, problem="The live release has no such schedule.")
    seen = scheduled(schedule.name, schedule.timezone, due_at, str(cause))
    try:
        return Prepared(release_id, seen, input_of(trigger.config.get("input"), seen))
    except ExprError as error:
        return Prepared(release_id, seen, problem=f"The input cannot be made: {error}")


def start(schedule: Schedule, row: ScheduledTime, prepared: Prepared, now: float) -> None:
    """Start a time's run, or keep why it was refused. In the caller's transaction, with the schedule locked."""
    row.at, row.detail = now, prepared.problem
    started: actions.Started | None = None
    if not prepared.problem:
        try:
            with transaction.atomic():
                started = _started(schedule, row, prepared)
            row.run_id = "" if started.skipped else str(started.run.pk)
            if started.skipped:  # by the flow's own concurrency; that run is none of this schedule's
                row.detail = f"The run {started.run.pk} holds the place of its concurrency key (on_conflict: skip)."
        except OrchestraError as refusal:
            row.detail = f"{refusal.message} {refusal.hint}".strip()
    skipped = started is not None and started.skipped
    row.state = State.STARTED if row.run_id else State.SKIPPED if skipped else State.REFUSED
    row.open, row.detail = bool(row.run_id), row.detail[:500]
    row.save(update_fields=["state", "run_id", "open", "detail", "at"])
    if row.state == State.REFUSED:
        book.count_failure(schedule, now, f"its start was refused ({row.detail[:200]})")


def _started(schedule: Schedule, row: ScheduledTime, prepared: Prepared) -> actions.Started:
    flow = schedule.flow
    actor = Actor.of_user(row.asked_by) if row.asked_by else Actor.trigger(f"{flow.slug}/{schedule.name}", flow.folder)
    return actions.start_run(
        actor=actor,
        flow=flow,
        release=flow.live,
        input=prepared.given,
        trigger=prepared.seen,
        idempotency_key=row.key,
        source=f"schedule:{schedule.name}",
    )


# -- a due time ------------------------------------------------------------------------------------------------
class Elsewhere(Exception):
    """Another process is at this schedule, or was faster, or a release goes live: look again in a moment."""


def fire(schedule: Schedule, now: float) -> bool:
    """Due times of a schedule, one transaction each. True where more of them are due."""
    for _ in range(TIMES_A_TURN):
        try:
            if not _fire_one(schedule, now):
                return False
        except Elsewhere:
            return True
        fresh = book.read(schedule.pk)
        if fresh is None:
            return False
        schedule = fresh
    return schedule.wake_at is not None and schedule.wake_at <= now


def _fire_one(read: Schedule, now: float) -> bool:
    if read.due_at is None or read.wake_at is None or read.wake_at > now:
        return False
    timing = book.timing_of(read)
    found = policy.look(timing, read.due_at, now)
    prepared = prepare(read, found.fire, Cause.DUE) if found.fire is not None else None
    with transaction.atomic():
        schedule = book.try_lock(read)
        if schedule is None or _moved(read, schedule):
            raise Elsewhere
        before = schedule.paused_at
        book.settle(schedule, now)
        if schedule.active:
            if found.missed is not None:
                _note_missed(schedule, found.missed, now)
            schedule.due_at, schedule.problem = found.next, ""
            schedule.wake_at = None if found.next is None else timing.wake(found.next)
            if prepared is not None and found.fire is not None:
                _act(schedule, found.fire, prepared, now)
        book.close(schedule, before)
    return True


def _moved(read: Schedule, locked: Schedule) -> bool:
    return (read.due_at, read.wake_at, read.cron, read.timezone, read.overlap, read.flow.live_id) != (
        locked.due_at, locked.wake_at, locked.cron, locked.timezone, locked.overlap, locked.flow.live_id,
    )  # fmt: skip


def _note_missed(schedule: Schedule, missed: policy.Missed, now: float) -> None:
    values = {"due_at": missed.last, "cause": Cause.DUE, "state": State.MISSED, "at": now, "detail": missed.sentence()}
    ScheduledTime.objects.get_or_create(schedule=schedule, key=utc_text(missed.last), defaults=values)


def _act(schedule: Schedule, due: float, prepared: Prepared, now: float) -> None:
    values = {"due_at": due, "cause": Cause.DUE, "state": State.WAITING, "at": now}
    busy = book.busy_of(schedule)
    row, new = ScheduledTime.objects.get_or_create(schedule=schedule, key=utc_text(due), defaults=values)
    if new:
        place(schedule, row, busy, prepared, now)


def place(schedule: Schedule, row: ScheduledTime, busy: policy.Busy, prepared: Prepared, now: float) -> None:
    """What the overlap policy makes of a time that is due now."""
    verdict = policy.decide(schedule.overlap, busy)
    if verdict.replaces:
        others = schedule.times.exclude(pk=row.pk).exclude(cause=Cause.BACKFILL)
        book.drop(others, now, "A later time took its place.")
    if verdict.do == "start":
        start(schedule, row, prepared, now)
    elif verdict.do == "skip":
        row.state, row.detail = State.SKIPPED, verdict.why
        row.save(update_fields=["state", "detail"])


# -- times that wait -------------------------------------------------------------------------------------------
def tend(schedule: Schedule, now: float) -> bool:
    """Take note of runs that ended, and start what waited for it."""
    if schedule.waiting and schedule.overlap in policy.STOPPING and schedule.active:
        _stop_others(schedule)
    for _ in range(STARTS_A_TURN):
        if not _start_waiting(schedule, now):
            return False
        fresh = book.read(schedule.pk)
        if fresh is None:
            return False
        schedule = fresh
    return schedule.waiting > 0


def _start_waiting(read: Schedule, now: float) -> bool:
    """Start the first one, if it may. Looks without a lock first: most turns find nothing to do."""
    head = book.first_waiting(read)
    free = head is not None and policy.may_start(read.overlap, head.cause, book.busy_of(read))
    if not free and not book.has_ended(read):
        return False
    prepared = prepare(read, head.due_at, head.cause) if head is not None and free else None
    with transaction.atomic():
        schedule = book.try_lock(read)
        if schedule is None:
            return False
        before = schedule.paused_at
        book.settle(schedule, now)
        first = book.first_waiting(schedule)
        same = first is not None and head is not None and first.pk == head.pk and not _moved(read, schedule)
        begun = same and policy.may_start(schedule.overlap, head.cause, book.busy_of(schedule)) if head else False
        if begun and first is not None and prepared is not None:
            start(schedule, first, prepared, now)
        book.close(schedule, before)
    return begun


def _stop_others(schedule: Schedule) -> None:
    """Ask its runs to end, so that the time that waits may start. A run of a backfill is left to end by itself."""
    rows = schedule.times.filter(open=True).exclude(cause=Cause.BACKFILL).values_list("run_id", flat=True)
    ending = (*ENDED, RunStatus.CANCELLING, RunStatus.COMPENSATING)
    stop = controls.cancel_run if schedule.overlap == "cancel_other" else controls.terminate_run
    for run_id in Run.objects.filter(pk__in=list(rows)).exclude(Q(status__in=ending)).values_list("pk", flat=True):
        try:
            stop(
                actor=Actor.trigger(f"{schedule.flow.slug}/{schedule.name}", schedule.flow.folder),
                run_id=run_id,
                reason=f"The schedule {schedule.name} is due again ({schedule.overlap}).",
            )
        except (Conflict, NotFound):
            logger.info("run %s of schedule %s ended by itself", run_id, schedule)
