"""API v1: schedules, what they will do and did, and what people do with them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import Q
from django.http import HttpRequest
from ninja import Field, Router, Schema
from ninja.params.functions import Query
from pydantic import AfterValidator

from flows.definition.cron import utc_text
from resources.api import Input, Text, actor_of, declared, iso
from resources.errors import BadInput
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor
from runs import clock
from runs.schedules import actions, facts
from runs.schedules.models import Schedule, ScheduledTime

router = Router(tags=["schedules"])
MOMENT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})$"
ONE = "/flows/{slug}/schedules/{name}"


def _moment(text: str) -> str:
    datetime.fromisoformat(text)  # ValueError: no such day or hour
    return text


Moment = Annotated[str, AfterValidator(_moment)]


class NextOut(Schema):
    at: str = Field(description="UTC")
    local: str = Field(description="In the schedule's time zone.")


class PauseOut(Schema):
    at: str
    by: str
    note: str


class TimeOut(Schema):
    due_at: str
    cause: str = Field(description="due | backfill | manual")
    state: str = Field(description="waiting | started | skipped | missed | refused")
    run: str | None
    detail: str
    at: str = Field(description="When this was decided.")


class ScheduleOut(Schema):
    flow: str
    name: str
    cron: str
    timezone: str
    overlap: str
    catchup: float = Field(description="Seconds.")
    jitter: float = Field(description="Seconds.")
    pause_on_failure: int = Field(description="Failures in a row that pause it; 0: none do.")
    note: str
    next: list[NextOut] = Field(description="The next five due times; of a paused schedule, those it would have.")
    paused: PauseOut | None
    failures: int = Field(description="Runs that failed since one succeeded.")
    waiting: int = Field(description="Times that wait for their turn.")
    problem: str = Field(description="Why it cannot be worked on; empty: it can.")
    last: TimeOut | None


class SchedulesOut(Schema):
    items: list[ScheduleOut]
    next_cursor: str | None


class TimesOut(Schema):
    items: list[TimeOut]
    next_cursor: str | None


class PastOut(NextOut):
    state: str = Field(description="new, or what came of it before")
    run: str | None
    starts: bool = Field(description="Whether a backfill starts it.")


class PreviewOut(Schema):
    total: int
    starts: int
    times: list[PastOut]


class NoteIn(Input):
    note: Text = Field("", max_length=actions.MAX_NOTE)


class TriggerIn(Input):
    idempotency_key: Text | None = Field(None, min_length=1, max_length=64)


class BackfillIn(Input):
    start: Moment = Field(alias="from", pattern=MOMENT)
    end: Moment = Field(alias="to", pattern=MOMENT)


class CountOut(Schema):
    times: int


@router.get("/schedules", response=declared((200, SchedulesOut)))
def list_schedules(
    request: HttpRequest,
    flow: str | None = Query(None, max_length=63),
    cursor: str | None = Query(None, max_length=300),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Schedules of live releases the caller may see, by flow and name."""
    rows = facts.visible_schedules(actor_of(request))
    if flow is not None:
        rows = rows.filter(flow__slug=_text(flow))
    if cursor is not None:
        slug, name = (_text(part) for part in decode_cursor(cursor, str, str))
        rows = rows.filter(Q(flow__slug__gt=slug) | Q(flow__slug=slug, name__gt=name))
    found = list(rows[: limit + 1])
    shown, last = found[:limit], facts.last_times(found)
    more = encode_cursor(shown[-1].flow.slug, shown[-1].name) if len(found) > limit else None
    return {"items": [_schedule(row, last.get(row.pk)) for row in shown], "next_cursor": more}


@router.get(ONE, response=declared((200, ScheduleOut)))
def get_schedule(request: HttpRequest, slug: str, name: str) -> dict[str, Any]:
    """One schedule with its next five times."""
    return _one(actions.visible_schedule(actor_of(request), slug, name))


@router.get(ONE + "/times", response=declared((200, TimesOut)))
def list_times(
    request: HttpRequest,
    slug: str,
    name: str,
    state: Literal["waiting", "started", "skipped", "missed", "refused"] | None = None,
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(facts.RECENT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """What came of its times, the latest first."""
    schedule = actions.visible_schedule(actor_of(request), slug, name)
    rows, more = facts.times_of(schedule, state=state or "", cursor=cursor, limit=limit)
    return {"items": [_time(row) for row in rows], "next_cursor": more}


@router.post(ONE + "/pause", response=declared((200, ScheduleOut), errors=(409,)))
def pause_schedule(request: HttpRequest, slug: str, name: str, body: NoteIn | None = None) -> dict[str, Any]:
    """Start nothing by the clock until it is resumed. Runs that started go on; what waits is kept."""
    note = body.note if body else ""
    return _one(actions.pause_schedule(actor=actor_of(request), slug=slug, name=name, note=note))


@router.post(ONE + "/resume", response=declared((200, ScheduleOut), errors=(409,)))
def resume_schedule(request: HttpRequest, slug: str, name: str) -> dict[str, Any]:
    """Go on with the next due time; those that passed meanwhile are left out."""
    return _one(actions.resume_schedule(actor=actor_of(request), slug=slug, name=name))


@router.post(ONE + "/trigger", response=declared((200, TimeOut), errors=(409,)))
def trigger_schedule(request: HttpRequest, slug: str, name: str, body: TriggerIn | None = None) -> dict[str, Any]:
    """Start it once, as if it were due now. A repeated `idempotency_key` gives the first start again."""
    key = (body.idempotency_key if body else None) or uuid.uuid4().hex
    return _time(actions.trigger_schedule(actor=actor_of(request), slug=slug, name=name, key=key))


@router.get(ONE + "/backfill", response=declared((200, PreviewOut)))
def preview_backfill(
    request: HttpRequest,
    slug: str,
    name: str,
    start: str = Query(alias="from", pattern=MOMENT),
    end: str = Query(alias="to", pattern=MOMENT),
) -> dict[str, Any]:
    """The due times of a past range, both ends included, and which of them a backfill starts. Changes nothing."""
    schedule = actions.visible_schedule(actor_of(request), slug, name)
    found = actions.preview_backfill(schedule, _epoch(start), _epoch(end))
    times = [{**_next(p.at, schedule), "state": p.state, "run": p.run_id or None, "starts": p.starts} for p in found]
    return {"total": len(found), "starts": sum(p.starts for p in found), "times": times}


@router.post(ONE + "/backfill", response=declared((200, CountOut), errors=(409,)))
def backfill_schedule(request: HttpRequest, slug: str, name: str, body: BackfillIn) -> dict[str, Any]:
    """Let the due times of a past range that have no run wait for their turn."""
    span = {"start": _epoch(body.start), "end": _epoch(body.end)}
    return {"times": actions.backfill_schedule(actor=actor_of(request), slug=slug, name=name, **span)}


@router.post(ONE + "/drop", response=declared((200, CountOut), errors=(409,)))
def drop_waiting(request: HttpRequest, slug: str, name: str) -> dict[str, Any]:
    """Give up what waits for its turn, a backfill with it. Runs that started go on."""
    return {"times": actions.drop_waiting(actor=actor_of(request), slug=slug, name=name)}


def _epoch(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{moment} is no moment.", code="bad_range") from error


def _text(value: str) -> str:
    if "\0" in value:
        raise BadInput("A text may not hold U+0000.")
    return value


def _one(schedule: Schedule) -> dict[str, Any]:
    last = schedule.times.order_by("-due_at", "-pk").first()
    return _schedule(schedule, last)


def _schedule(row: Schedule, last: ScheduledTime | None) -> dict[str, Any]:
    paused = {"at": iso(row.paused_at), "by": row.paused_by, "note": row.paused_note} if row.paused_at else None
    return {
        "flow": row.flow.slug,
        "name": row.name,
        "cron": row.cron,
        "timezone": row.timezone,
        "overlap": row.overlap,
        "catchup": row.catchup,
        "jitter": row.jitter,
        "pause_on_failure": row.pause_on_failure,
        "note": row.purpose,
        "next": [_next(at, row) for at in facts.upcoming(row, clock.now())],
        "paused": paused,
        "failures": row.failures,
        "waiting": row.waiting,
        "problem": row.problem,
        "last": _time(last) if last else None,
    }


def _next(at: float, schedule: Schedule) -> dict[str, str]:
    return {"at": utc_text(at), "local": facts.in_zone(at, schedule.timezone).isoformat(timespec="seconds")}


def _time(row: ScheduledTime) -> dict[str, Any]:
    return {
        "due_at": iso(row.due_at),
        "cause": row.cause,
        "state": row.state,
        "run": row.run_id or None,
        "detail": row.detail,
        "at": iso(row.at),
    }
