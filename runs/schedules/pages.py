"""Schedules as their pages show them: view dicts, a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Q

from flows.models import Flow
from resources.access import Actor, can
from resources.paging import decode_cursor, encode_cursor
from runs import looks
from runs.models import Run
from runs.schedules import actions, facts
from runs.schedules.actions import Past
from runs.schedules.models import Schedule, ScheduledTime

PER_PAGE: Final = 50
#: times of a preview that are listed one by one
LISTED: Final = 100
OVERLAP: Final = {
    "skip": "The time is skipped.",
    "buffer_one": "One time waits for its end; more are skipped.",
    "buffer_all": "Times wait for their turn.",
    "cancel_other": "That run is cancelled; the latest time starts when it has ended.",
    "terminate_other": "That run is terminated; the latest time starts when it has ended.",
    "allow_all": "Another run starts beside it.",
}
CAUSE: Final = {"due": "", "backfill": "backfill", "manual": "by hand"}
#: what the times of a page may be narrowed to
STATES: Final = {
    "": "All", "started": "Started", "waiting": "Waiting", "skipped": "Skipped", "missed": "Missed",
    "refused": "Refused",
}  # fmt: skip
_LOOKS: Final[dict[str, looks.Look]] = {
    "waiting": ("waiting", "Waits for its turn"),
    "skipped": ("skipped", "Skipped"),
    "missed": ("cancelled", "Missed"),
    "refused": ("failed", "Start refused"),
    "started": ("succeeded", "Started"),  # where its run is no longer kept
    "new": ("queued", "Never started"),
}


def list_page(actor: Actor, cursor: str, now: float) -> dict[str, Any]:
    """All schedules the actor may see, by flow and name."""
    rows = facts.visible_schedules(actor)
    if cursor:
        slug, name = decode_cursor(cursor, str, str)
        rows = rows.filter(Q(flow__slug__gt=slug) | Q(flow__slug=slug, name__gt=name))
    found = list(rows[: PER_PAGE + 1])
    shown = found[:PER_PAGE]
    more = encode_cursor(shown[-1].flow.slug, shown[-1].name) if len(found) > PER_PAGE else ""
    return {"section": "schedules", "rows": _cards(shown, now), "next_cursor": more, "now": now}


def of_flow(actor: Actor, flow: Flow, now: float) -> list[dict[str, Any]]:
    """The schedules on a flow's page."""
    return _cards(list(facts.visible_schedules(actor).filter(flow=flow)), now)


def show_page(actor: Actor, schedule: Schedule, now: float, *, state: str = "", cursor: str = "") -> dict[str, Any]:
    """`state`: only times of which this came. Raises BadInput `bad_cursor`."""
    state = state if state in STATES else ""
    times, older = facts.times_of(schedule, state=state, cursor=cursor)
    return {
        "section": "schedules",
        "flow": schedule.flow,
        "schedule": schedule,
        "next": _next(schedule, now),
        "times": [{**seen, "due": _moment(seen["time"].due_at, schedule)} for seen in _seen(times)],
        "chips": [{"state": one, "label": label, "on": one == state} for one, label in STATES.items()],
        "asked": urlencode({k: v for k, v in {"state": state, "cursor": cursor}.items() if v}),
        "older": urlencode({"state": state, "cursor": older}) if older else "",
        "first": urlencode({"state": state}) if cursor else "",
        "chosen": STATES[state] if state else "",
        "overlap": OVERLAP.get(schedule.overlap, schedule.overlap),
        "may": can(actor, "operator", schedule.flow.folder),
        "now": now,
    }


def preview(schedule: Schedule, start: float, end: float) -> dict[str, Any]:
    """A backfill before it is one. Raises BadInput."""
    found = actions.preview_backfill(schedule, start, end)
    runs = _runs(past.run_id for past in found)
    listed = [{**_moment(p.at, schedule), **_look(p, runs), "run": runs.get(p.run_id)} for p in found[:LISTED]]
    starts = sum(past.starts for past in found)
    return {"total": len(found), "starts": starts, "listed": listed, "rest": max(0, len(found) - LISTED)}


def _cards(schedules: list[Schedule], now: float) -> list[dict[str, Any]]:
    last = facts.last_times(schedules)
    seen = dict(zip(last, _seen(list(last.values())), strict=True))
    return [{"schedule": s, "next": _next(s, now), "last": seen.get(s.pk)} for s in schedules]


def _next(schedule: Schedule, now: float) -> list[dict[str, Any]]:
    return [_moment(at, schedule) for at in facts.upcoming(schedule, now)]


def _moment(at: float, schedule: Schedule) -> dict[str, Any]:
    """A due time in the schedule's zone, and in UTC where that is another."""
    local, utc = facts.in_zone(at, schedule.timezone), facts.in_zone(at, "UTC")
    same_day, same = local.date() == utc.date(), schedule.timezone in ("UTC", "Etc/UTC")
    return {
        "at": at,
        "local": local.strftime("%a %-d %b %Y, %H:%M %Z"),
        "utc": "" if same else utc.strftime("%H:%M UTC" if same_day else "%-d %b, %H:%M UTC"),
    }


def _seen(times: list[ScheduledTime]) -> list[dict[str, Any]]:
    runs = _runs(row.run_id for row in times)
    return [{"time": row, "run": runs.get(row.run_id), "cause": CAUSE[row.cause], **_look(row, runs)} for row in times]


def _look(row: ScheduledTime | Past, runs: dict[str, Run]) -> dict[str, str]:
    run = runs.get(row.run_id)
    state, label = looks.of_run(run.status) if run else _LOOKS[row.state]
    return {"state": state, "label": label}


def _runs(ids: Iterable[str]) -> dict[str, Run]:
    return Run.objects.only("pk", "status").in_bulk([run_id for run_id in ids if run_id])
