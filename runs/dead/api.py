"""API v1: dead letters, their replays, inputs in quarantine."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Path, Router, Status
from ninja.params.functions import Query

from resources.api import actor_of, declared, iso
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor
from runs.control_api import BulkOut, result_json
from runs.dead import dismissing, letters, pages, quarantine, replays
from runs.dead.letters import Filter
from runs.dead.shapes import (
    AbortIn,
    DeadCountOut,
    DeadReasonIn,
    DeadReplayIn,
    DismissIn,
    FilterIn,
    Id,
    LettersOut,
    QuarantineIn,
    QuarantineOut,
    QuarantinesOut,
    ReplayItemsOut,
    ReplayOut,
    ReplaysOut,
    moment_of,
)  # fmt: skip
from runs.models import Quarantine, ReplayBatch, ReplayItem, Run
from runs.sensitive.rows import of_runs
from runs.sensitive.veil import Veil

router = Router(tags=["dead letters"])


@router.get("/dead-letters", response=declared((200, LettersOut)))
def list_dead_letters(
    request: HttpRequest,
    error_class: str = Query("", max_length=64),
    flow: str = Query("", max_length=63),
    folder: str = Query("", max_length=200),
    q: str = Query("", max_length=100),
    since: str | None = Query(None, max_length=40),
    until: str | None = Query(None, max_length=40),
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Runs that gave up and that nobody dismissed, the newest first, with counts by error class and by flow."""
    class_, flow, folder, q = (text.replace("\0", "") for text in (error_class, flow, folder, q))
    asked = Filter(class_, flow, folder, q, since=moment_of(since, "since"), until=moment_of(until, "until"))
    rows = letters.dead_letters(actor_of(request), asked)
    items, following = letters.page_of(rows, cursor=cursor, limit=limit)
    attempts = pages.attempts_of(items)
    veils = of_runs(items)
    found = [_letter(run, attempts, veils[run.pk]) for run in items]
    return {"items": found, "next_cursor": following, "total": rows.count(), **_groups(request, asked, "viewer")}


@router.post("/dead-letters/count", response=declared((200, DeadCountOut)))
def count_dead_letters(request: HttpRequest, body: FilterIn) -> dict[str, Any]:
    """The dry run of a replay: how many runs it would take. Changes nothing."""
    count = replays.count_replay(actor=actor_of(request), asked=body.asked())
    return {"count": count, **_groups(request, body.asked(), "operator", all_classes=False)}


@router.post("/dead-letters/dismiss", response=declared((200, BulkOut)))
def dismiss_dead_letters(request: HttpRequest, body: DismissIn) -> dict[str, Any]:
    """Take them off the list; the runs stay, and can still be retried and replayed. Each has its own result."""
    found = dismissing.dismiss_runs(actor=actor_of(request), ids=body.ids, reason=body.reason)
    return {"items": [result_json(r) for r in found]}


@router.post("/dead-letters/replays", response=declared((202, ReplayOut), errors=(409,)))
def start_replay(request: HttpRequest, body: DeadReplayIn) -> Status[dict[str, Any]]:
    """Replay all that match now, the oldest first, at a rate. Ask `/dead-letters/count` before."""
    batch = replays.start_replay(
        actor=actor_of(request), asked=body.filter.asked(), mode=body.mode, reason=body.reason, rate=body.rate
    )
    return Status(202, _replay(batch))


@router.get("/dead-letters/replays", response=declared((200, ReplaysOut)))
def list_replays(request: HttpRequest) -> dict[str, Any]:
    """The newest 50: yours, or all of them for operators of every folder."""
    return {"items": [_replay(batch) for batch in replays.list_replays(actor_of(request))]}


@router.get("/dead-letters/replays/{replay_id}", response=declared((200, ReplayOut)))
def get_replay(request: HttpRequest, replay_id: Path[Id]) -> dict[str, Any]:
    """How far it is."""
    return _replay(replays.visible_replay(actor_of(request), replay_id))


@router.get("/dead-letters/replays/{replay_id}/runs", response=declared((200, ReplayItemsOut)))
def list_replay_runs(
    request: HttpRequest,
    replay_id: Path[Id],
    status: Literal["pending", "done", "failed"] | None = None,
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """What became of each run, in the order they are replayed."""
    rows = ReplayItem.objects.filter(batch=replays.visible_replay(actor_of(request), replay_id)).order_by("pk")
    rows = rows.filter(status=status) if status else rows
    if cursor:
        rows = rows.filter(pk__gt=min(decode_cursor(cursor, int)[0], 2**62))
    found = list(rows[: limit + 1])
    following = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
    became = replays.now_of(found[:limit])
    return {"items": [_item(item, became.get(item.pk)) for item in found[:limit]], "next_cursor": following}


@router.post("/dead-letters/replays/{replay_id}/abort", response=declared((200, ReplayOut), errors=(409,)))
def abort_replay(request: HttpRequest, replay_id: Path[Id], body: AbortIn | None = None) -> dict[str, Any]:
    """Leave what was not replayed yet as it is. What was, goes on."""
    reason = body.reason if body else ""
    return _replay(replays.abort_replay(actor=actor_of(request), batch_id=replay_id, reason=reason))


@router.get("/quarantine", response=declared((200, QuarantinesOut)))
def list_quarantine(
    request: HttpRequest,
    flow: str = Query("", max_length=63),
    released: bool = False,
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Inputs that are refused at start, the newest first; `released`: those that no longer are."""
    rows = quarantine.visible(actor_of(request)).filter(released_at__isnull=not released)
    rows = rows.filter(flow__slug=flow.replace("\0", "")) if flow else rows
    if cursor:
        rows = rows.filter(pk__lt=min(decode_cursor(cursor, int)[0], 2**62))
    found = list(rows.order_by("-pk")[: limit + 1])
    following = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
    return {"items": [_quarantined(row) for row in found[:limit]], "next_cursor": following}


@router.post("/quarantine", response=declared((201, QuarantineOut), errors=(409,)))
def quarantine_input(request: HttpRequest, body: QuarantineIn) -> Status[dict[str, Any]]:
    """Refuse the input of this run at every start of its flow from now on."""
    row = quarantine.quarantine_input(
        actor=actor_of(request), run_id=body.run, reason=body.reason, this_release_only=body.this_release_only
    )
    return Status(201, _quarantined(quarantine.find(actor_of(request), row.pk)))


@router.get("/quarantine/{quarantine_id}", response=declared((200, QuarantineOut)))
def get_quarantined(request: HttpRequest, quarantine_id: Path[Id]) -> dict[str, Any]:
    """One input, why it is refused, and by whom."""
    return _quarantined(quarantine.find(actor_of(request), quarantine_id))


@router.post("/quarantine/{quarantine_id}/release", response=declared((200, QuarantineOut), errors=(409,)))
def release_input(request: HttpRequest, quarantine_id: Path[Id], body: DeadReasonIn) -> dict[str, Any]:
    """Let the input start runs again. What failed before counts no more."""
    row = quarantine.release_input(actor=actor_of(request), quarantine_id=quarantine_id, reason=body.reason)
    return _quarantined(row)


def _groups(request: HttpRequest, asked: Filter, role: str, *, all_classes: bool = True) -> dict[str, Any]:
    actor = actor_of(request)
    wide = letters.dead_letters(actor, asked.without_class() if all_classes else asked, role)
    by_flow = letters.groups(letters.dead_letters(actor, asked, role), "flow__slug")
    shown = {"classes": letters.groups(wide, "error_class"), "flows": by_flow}
    return {name: [{**g, "latest": iso(g["latest"])} for g in found] for name, found in shown.items()}


def _letter(run: Run, attempts: dict[str, int], veil: Veil) -> dict[str, Any]:
    error = run.error or {}
    message = veil.text(str(error.get("message", "")))
    none: dict[str, list[str]] = {"undone": [], "not_undone": [], "in_flight": []}
    return {
        "run": run.pk,
        "flow": run.flow.slug,
        "folder": run.flow.folder,
        "release": run.release.version,
        "status": run.status,
        "error": {"error_class": run.error_class, "message": message, "step": error.get("step")},
        "attempts": attempts.get(run.pk),
        **none,
        **letters.left_undone(run),
        "created_at": iso(run.created_at),
        "dead_at": iso(run.dead_at),
    }  # fmt: skip


def _replay(batch: ReplayBatch) -> dict[str, Any]:
    same = ("mode", "filter", "reason", "rate", "status", "total", "done", "failed", "actor", "ended_by")
    times = {"created_at": iso(batch.created_at), "ended_at": iso(batch.ended_at)}
    return {"id": batch.pk, **{name: getattr(batch, name) for name in same}, **times}


def _item(item: ReplayItem, became: str | None) -> dict[str, Any]:
    same = {name: getattr(item, name) for name in ("status", "code", "message")}
    return {**same, "run": item.run_id, "new_run": item.new_run or None, "at": iso(item.at), "run_status": became}


def _quarantined(row: Quarantine) -> dict[str, Any]:
    same = {name: getattr(row, name) for name in ("reason", "actor", "released_by", "release_reason")}
    times = {"at": iso(row.at), "released_at": iso(row.released_at)}
    return {
        **same,
        **times,
        "id": row.pk,
        "flow": row.flow.slug,
        "input_sha256": row.digest,
        "run": row.run_id,
        "release": row.release.version if row.release else None,
    }
