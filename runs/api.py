"""API v1: starting, reading and cancelling runs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja import Query as Queried
from ninja.params.functions import Query

from flows.actions import visible_flow
from flows.plans import plan_of
from resources.access import can, folder_filter
from resources.api import Input, Text, actor_of, declared, iso
from resources.errors import NotFound
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, newest_first
from runs import actions, filters, line, times, usage
from runs.filter_api import RunFilter
from runs.held import HeldBack, held_back
from runs.hidden import hide
from runs.models import NO_ITEM, Run, RunEvent
from runs.sensitive.rows import of_run, of_runs
from runs.sensitive.veil import Veil

router = Router(tags=["runs"])
RUN_ID = re.compile(r"[0-9a-z]{26}", re.ASCII)


class ProgressOut(Schema):
    message: str
    percent: float | None
    at: str


class LiveOut(Schema):
    tail: str = Field(description="The end of what the attempt says right now, such as the output of a command; 8 KiB.")
    log: list[str] = Field(description="The last lines of the attempt's log; its event `step.log` has them all.")


class StepOut(Schema):
    id: str
    family: str
    status: str = Field(description="`pending` until the run reaches it.")
    reason: str = Field(description="Why it was skipped (if, when, needs, approval, route, key) or withdrawn (join).")
    stale: bool = Field(description="Its output is the last good one of an earlier run.")
    fallback: bool = Field(description="Its fallback stood in.")
    attempts: int
    pass_no: int = Field(serialization_alias="pass")
    started_at: str | None
    ended_at: str | None
    round: int = Field(description="Rounds of an `until` that ended without it.")
    sla_missed: bool
    progress: ProgressOut | None = Field(description="What the running attempt reported last.")
    live: LiveOut | None = Field(description="What the running attempt says.")
    held_by: str | None = Field(description="The limit that holds it, or some of its items, back right now.")


class QueuedOut(Schema):
    kind: Literal["paused", "release", "key", "worker"]
    sentence: str
    key: str = Field(description="The concurrency key it waits for, or empty.")
    position: int = Field(description="1 is the next in line.")
    holders: list[str] = Field(description="Ids of some of the runs it waits for.")


class RunOut(Schema):
    id: str
    flow: str
    release: str
    status: str
    degraded: bool = Field(description="A fallback stood in for a step.")
    created_at: str
    started_at: str | None
    ended_at: str | None
    input: Any
    output: Any
    error: Any
    sla_missed: bool
    deadline: str | None = Field(description="When the run's time is over; null once it has ended.")
    priority: int
    parent: str | None = Field(description="Id of the run that started this one.")
    steps: list[StepOut]


class ModelUsageOut(Schema):
    """What language models used."""

    input_tokens: int
    output_tokens: int
    cost: float = Field(description="US dollars, by the prices of the connections.")


class RunUsageOut(ModelUsageOut):
    steps: dict[str, ModelUsageOut] = Field(description="Of each step that asked a model.")


class RunDetailOut(RunOut):
    usage: RunUsageOut
    queued: QueuedOut | None = Field(description="What a run that has not begun waits for.")


class StartOut(RunDetailOut):
    outcome: Literal["started", "known", "skipped"] = Field(
        description="known: the idempotency key started it before; skipped: nothing was started, "
        "since this run holds the place of the concurrency key."
    )


class RunsOut(Schema):
    items: list[RunOut]
    next_cursor: str | None


class EventOut(Schema):
    seq: int
    type: str
    step: str
    item: int | None
    at: str
    actor: str
    data: Any


class EventsOut(Schema):
    items: list[EventOut]
    next_cursor: str | None = Field(description="Pass it as `after` to go on; null at the end of what is there.")


class RunIn(Input):
    input: Any = Field(default_factory=dict)
    idempotency_key: Text | None = Field(None, min_length=1, max_length=200)
    priority: int | None = Field(None, ge=-10, le=10, description="Instead of the flow's; needs the role operator.")
    test: bool = Field(False, description="A test: variables take their draft values where there are some.")


class CancelIn(Input):
    reason: Text = Field("", max_length=1000)


@router.post("/flows/{slug}/runs", response=declared((200, StartOut), (201, StartOut), errors=(409,)), by_alias=True)
def start_run(request: HttpRequest, slug: str, body: RunIn) -> Status[dict[str, Any]]:
    """Start a run of the live release. 201; 200 with a run that was there before, and `outcome` says why.

    429 with `Retry-After` where the flow's line is full; 409 where the flow is paused or its key is taken.
    """
    actor = actor_of(request)
    flow = visible_flow(actor, slug)
    started = actions.start_run(
        actor=actor,
        flow=flow,
        input=body.input,
        idempotency_key=body.idempotency_key,
        source="api",
        priority=body.priority,
        test=body.test,
    )
    outcome = "started" if started.created else "skipped" if started.skipped else "known"
    found = {**_detail(visible_run(request, started.run.pk)), "outcome": outcome}
    return Status(201 if started.created else 200, found)


@router.get("/runs", response=declared((200, RunsOut)), by_alias=True)
def list_runs(
    request: HttpRequest,
    asked: Queried[RunFilter],
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Runs the caller may see, newest first."""
    rows = _rows().filter(folder_filter(actor_of(request), "viewer", "flow__folder"))
    rows = filters.narrow(rows, asked.asked(), time.time())
    page = newest_first(rows, cursor=cursor, limit=limit)
    held = held_back([run.pk for run in page.items if not run.ended])
    veils = of_runs(page.items)
    return {"items": [run_json(run, held, veils[run.pk]) for run in page.items], "next_cursor": page.next_cursor}


@router.get("/runs/{run_id}", response=declared((200, RunDetailOut)), by_alias=True)
def get_run(request: HttpRequest, run_id: str) -> dict[str, Any]:
    """One run with its steps, in the order of the flow."""
    run = visible_run(request, run_id)
    return _detail(run) if can(actor_of(request), "operator", run.flow.folder) else hide(_detail(run))


@router.get("/runs/{run_id}/events", response=declared((200, EventsOut)))
def list_events(
    request: HttpRequest,
    run_id: str,
    after: int = Query(0, ge=0, le=2**62, description="The last `seq` already seen."),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """The run's history, oldest first."""
    run = visible_run(request, run_id)
    found = list(RunEvent.objects.filter(run=run, seq__gt=after).order_by("seq")[: limit + 1])
    more = len(found) > limit
    operates = can(actor_of(request), "operator", run.flow.folder)
    veil = of_run(run)
    items = [_event(e, veil, operates=operates) for e in found[:limit]]
    return {"items": items, "next_cursor": str(items[-1]["seq"]) if more else None}


@router.post("/runs/{run_id}/cancel", response=declared((200, RunOut), errors=(409,)), by_alias=True)
def cancel_run(request: HttpRequest, run_id: str, body: CancelIn | None = None) -> dict[str, Any]:
    """Ask the run to stop. Attempts in flight end first; open approvals are withdrawn."""
    visible_run(request, run_id)
    actions.cancel_run(actor=actor_of(request), run_id=run_id, reason=body.reason if body else "")
    return run_json(visible_run(request, run_id))


def _rows() -> QuerySet[Run]:
    return (
        Run.objects.select_related("flow", "release")
        .defer("release__source", "release__plan_json", "trigger")
        .prefetch_related("step_runs")
    )


def visible_run(request: HttpRequest, run_id: str) -> Run:
    run = _rows().filter(pk=run_id).first() if RUN_ID.fullmatch(run_id) else None
    if run is None or not can(actor_of(request), "viewer", run.flow.folder):
        raise NotFound(f"There is no run {run_id[:40]!r}.")
    return run


def _detail(run: Run) -> dict[str, Any]:
    used = {**usage.totals(run.pk), "steps": usage.by_step(run.pk)}
    veil, queued = of_run(run), line.of_run(run)
    if queued is not None:
        queued |= {"sentence": veil.text(queued["sentence"]), "key": veil.text(queued["key"])}
    return {**run_json(run, veil=veil), "usage": used, "queued": queued}


def run_json(
    run: Run, held: Mapping[str, Mapping[str, HeldBack]] | None = None, veil: Veil | None = None
) -> dict[str, Any]:
    if held is None:
        held = {} if run.ended else held_back([run.pk])
    veil = veil or of_run(run)
    return {
        "id": run.pk,
        "flow": run.flow.slug,
        "release": run.release.version,
        "status": run.status,
        "degraded": run.degraded,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
        "input": veil.input(run.input),
        "output": veil.tree(run.output),
        "error": veil.error(str((run.error or {}).get("step", "")), run.error),
        "sla_missed": times.is_late(run),
        "deadline": iso(times.deadline_of(run, plan_of(run.release_id, run.release.checksum))),
        "priority": run.priority,
        "parent": run.parent_id,
        "steps": _steps(run, held.get(run.pk, {}), veil),
    }


def _steps(run: Run, held: Mapping[str, HeldBack], veil: Veil) -> list[dict[str, Any]]:
    rows = {row.step: row for row in run.step_runs.all() if row.item == NO_ITEM}
    steps = []
    for step in plan_of(run.release_id, run.release.checksum).steps:
        row = rows.get(step.id)
        live = veil.live(step.id, times.live_of(row))
        steps.append(
            {
                "id": step.id,
                "family": step.family,
                "status": row.status if row else "pending",
                "reason": row.state.get("reason", "") if row else "",
                "stale": bool(row and row.state.get("stale")),
                "fallback": bool(row and row.state.get("fallback")),
                "attempts": row.attempt if row else 0,
                "pass_no": row.pass_no if row else 1,
                "started_at": iso(row.started_at) if row else None,
                "ended_at": iso(row.ended_at) if row else None,
                "round": row.state.get("round_no", 0) if row else 0,
                "sla_missed": bool(row and row.state.get("late")),
                "progress": _progress(live),
                "live": hide(live),  # lists are for viewers, too
                "held_by": held[step.id].by if step.id in held else None,
            }
        )
    return steps


def _progress(live: Mapping[str, Any] | None) -> dict[str, Any] | None:
    shown = (live or {}).get("progress")
    return {"message": shown["message"], "percent": shown["percent"], "at": iso(shown["at"])} if shown else None


def _event(event: RunEvent, veil: Veil, *, operates: bool) -> dict[str, Any]:
    data = veil.event(event.step, event.item, event.data)
    return {
        "seq": event.seq,
        "type": event.type,
        "step": event.step,
        "item": None if event.item == NO_ITEM else event.item,
        "at": iso(event.at),
        "actor": event.actor,
        "data": data if operates else hide(data),
    }
