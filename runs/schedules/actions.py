"""Every change people make to a schedule. One action, one transaction, one audit entry.

The operator of the flow's folder may; what the schedule is, its cron and its policies, is the release's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction

from flows.actions import visible_flow
from flows.definition.cron import utc_text
from resources import audit
from resources.access import Actor, require
from resources.errors import BadInput, Conflict, NotFound
from resources.models import Role
from runs import clock
from runs.schedules import book, firing
from runs.schedules.book import Cause, State
from runs.schedules.models import Schedule, ScheduledTime

Json = Any
#: due times of one backfill
MAX_BACKFILL: Final = 1000
MAX_NOTE: Final = 500
#: due times that may be looked at
_EARLIEST: Final = 0.0


def visible_schedule(actor: Actor, slug: str, name: str) -> Schedule:
    """A schedule of the live release, for reading. Raises NotFound, also when the actor may not know of it."""
    flow = visible_flow(actor, slug)
    named = Schedule.objects.select_related("flow__live").filter(flow=flow, retired_at=None)
    found = named.filter(name=name).first() if "\0" not in name else None
    if found is None:
        raise NotFound(f"{slug} has no schedule {name[:63]!r}.", hint="Its live release says which it has.")
    return found


def pause_schedule(*, actor: Actor, slug: str, name: str, note: str = "") -> Schedule:
    """Nothing is started by the clock until it is resumed; what waits is kept. Raises NotFound, NotAllowed,
    Conflict `already_paused`."""

    def change(schedule: Schedule, now: float) -> dict[str, Json]:
        if schedule.paused_at is not None:
            raise Conflict(f"The schedule {name} is paused already.", code="already_paused")
        book.pause(schedule, now, actor.name, note[:MAX_NOTE])
        return {"note": note[:MAX_NOTE]}

    return _change(actor, slug, name, "schedule.paused", change)


def resume_schedule(*, actor: Actor, slug: str, name: str) -> Schedule:
    """Go on with the next due time; those that passed during the pause are left out, a backfill brings them.

    Raises NotFound, NotAllowed, Conflict `not_paused`.
    """

    def change(schedule: Schedule, now: float) -> dict[str, Json]:
        if schedule.paused_at is None:
            raise Conflict(f"The schedule {name} is not paused.", code="not_paused")
        timing = book.timing_of(schedule)
        schedule.paused_at, schedule.paused_by, schedule.paused_note, schedule.failures = None, "", "", 0
        schedule.due_at = timing.next(now)
        schedule.wake_at = None if schedule.due_at is None else timing.wake(schedule.due_at)
        return {}

    return _change(actor, slug, name, "schedule.resumed", change)


def trigger_schedule(*, actor: Actor, slug: str, name: str, key: str) -> ScheduledTime:
    """Start it once by hand, as if it were due now; also while it is paused. `key` makes a repeat the same start.

    Raises NotFound, NotAllowed, BadInput, Conflict `overlap` where its policy refuses a second run, `start_refused`.
    """
    if not 0 < len(key) <= 64:
        raise BadInput("The key has 1 to 64 characters.", code="bad_idempotency_key")
    read = visible_schedule(actor, slug, name)
    require(actor, Role.OPERATOR, read.flow.folder)
    now = clock.now()
    prepared = firing.prepare(read, now, Cause.MANUAL)
    with transaction.atomic():
        schedule = book.lock(read)
        before = schedule.paused_at
        book.settle(schedule, now)
        busy = book.busy_of(schedule)
        values = {"due_at": now, "cause": Cause.MANUAL, "state": State.WAITING, "at": now, "asked_by": actor.user}
        row, new = schedule.times.get_or_create(key=f"manual:{key}", defaults=values)
        if new:
            firing.place(schedule, row, busy, prepared, now)
            _refuse(row)
        book.close(schedule, before)
        if new:
            data = {"name": name, "state": row.state, "run": row.run_id}
            _audit(actor, "schedule.triggered", schedule, data)
    return row


def _refuse(row: ScheduledTime) -> None:
    """By hand, what does not start is told at once, and nothing of it is kept."""
    if row.state == State.SKIPPED:
        hint = "Wait for it, cancel it, or start the flow itself."
        said = "A run of this schedule still goes, and its overlap policy starts no other."
        raise Conflict(row.detail if "concurrency" in row.detail else said, hint=hint, code="overlap")
    if row.state == State.REFUSED:
        raise Conflict(row.detail, code="start_refused")


# -- backfill --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Past:
    """A past due time. state: "new", or what came of it before; `starts`: a backfill would start it."""

    at: float
    state: str
    run_id: str
    starts: bool


def preview_backfill(schedule: Schedule, start: float, end: float) -> list[Past]:
    """The due times from `start` to `end`, both included. Raises BadInput `bad_range` or `too_many_times`."""
    times = _range(schedule, start, end)
    keys = [utc_text(at) for at in times]
    known = {row.key: row for row in schedule.times.filter(key__in=keys)}
    return [_past(at, known.get(key)) for at, key in zip(times, keys, strict=True)]


def _past(at: float, row: ScheduledTime | None) -> Past:
    if row is None:
        return Past(at, "new", "", True)
    return Past(at, row.state, row.run_id, row.state not in (State.STARTED, State.WAITING))


def _range(schedule: Schedule, start: float, end: float) -> list[float]:
    if start < _EARLIEST:
        raise BadInput("The range begins before 1970.", code="bad_range")
    if start > end:
        raise BadInput("The range ends before it begins.", code="bad_range")
    if end > clock.now():
        raise BadInput("The range ends in the future; a backfill is of past times.", code="bad_range")
    found: list[float] = []
    for at in book.timing_of(schedule).after(start - 1.0):
        if at > end:
            break
        if at >= start:
            found.append(at)
        if len(found) > MAX_BACKFILL:
            hint = "Choose a shorter range, and go on with the next one."
            raise BadInput(f"More than {MAX_BACKFILL} times are due in this range.", hint=hint, code="too_many_times")
    return found


def backfill_schedule(*, actor: Actor, slug: str, name: str, start: float, end: float) -> int:
    """Let the due times of a past range that have no run wait for their turn; gives how many do.

    They start one after another, or a few at a time where the schedule's runs may overlap. Raises NotFound,
    NotAllowed, BadInput as preview_backfill, Conflict `nothing_to_start`.
    """
    added = 0

    def change(schedule: Schedule, now: float) -> dict[str, Json]:
        nonlocal added
        wanted = [past.at for past in preview_backfill(schedule, start, end) if past.starts]
        if not wanted:
            raise Conflict("Every due time of this range has a run, or waits for one.", code="nothing_to_start")
        added = _wait(schedule, wanted, actor, now)
        return {"from": utc_text(start), "to": utc_text(end), "times": added}

    _change(actor, slug, name, "schedule.backfilled", change)
    return added


def _wait(schedule: Schedule, times: list[float], actor: Actor, now: float) -> int:
    """A time that came to nothing before gets its row again, a new one its own."""
    rows = [
        ScheduledTime(
            schedule=schedule, key=utc_text(at), due_at=at, cause=Cause.BACKFILL, state=State.WAITING, at=now,
            asked_by=actor.user,
        )
        for at in times
    ]  # fmt: skip
    fields = ["cause", "state", "at", "asked_by", "detail"]
    ScheduledTime.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["schedule", "key"], update_fields=fields
    )
    return len(rows)


def drop_waiting(*, actor: Actor, slug: str, name: str) -> int:
    """Give up what waits for its turn, a backfill with it; runs that started go on. Gives how many were given up.

    Raises NotFound, NotAllowed, Conflict `nothing_waits`.
    """
    dropped = 0

    def change(schedule: Schedule, now: float) -> dict[str, Json]:
        nonlocal dropped
        dropped = book.drop(schedule.times.all(), now, f"Given up by {actor.name}.")
        if not dropped:
            raise Conflict("Nothing waits for its turn.", code="nothing_waits")
        return {"times": dropped}

    _change(actor, slug, name, "schedule.waiting_dropped", change)
    return dropped


Change = Callable[[Schedule, float], dict[str, Json]]


def _change(actor: Actor, slug: str, name: str, action: str, change: Change) -> Schedule:
    read = visible_schedule(actor, slug, name)
    require(actor, Role.OPERATOR, read.flow.folder)
    now = clock.now()
    with transaction.atomic():
        schedule = book.lock(read)
        if schedule.retired_at is not None:
            raise NotFound(f"{slug} has no schedule {name!r} any more.")
        data = change(schedule, now)
        book.close(schedule, schedule.paused_at or now)
        _audit(actor, action, schedule, data)
    return schedule


def _audit(actor: Actor, action: str, schedule: Schedule, data: dict[str, Json]) -> None:
    facts = {"name": schedule.name, **data}
    audit.record(actor=actor, action=action, object_type="flow", object_id=schedule.flow.slug, data=facts)
