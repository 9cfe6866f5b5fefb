"""Replaying dead letters: one or many, by filter, at a rate, until it is done or somebody aborts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import transaction

from resources import audit
from resources.access import Actor, can
from resources.errors import BadInput, Conflict, NotFound
from resources.models import Role
from runs import clock
from runs.dead.dismissing import check_reason
from runs.dead.letters import Filter, dead_letters
from runs.models import ReplayBatch, ReplayItem, Run

#: runs of one batch; more than a person can judge at once
MAX_RUNS: Final = 10_000
#: runs a minute
MAX_RATE: Final = 6_000
DEFAULT_RATE: Final = 60


def count_replay(*, actor: Actor, asked: Filter) -> int:
    """How many runs a replay with this filter would take: those the actor operates."""
    return dead_letters(actor, asked, Role.OPERATOR).count()


@transaction.atomic
def start_replay(*, actor: Actor, asked: Filter, mode: str, reason: str, rate: int = DEFAULT_RATE) -> ReplayBatch:
    """Put the dead letters of a filter in line, the oldest first; a keeper replays them, `rate` a minute (0: at once).

    `mode`: `retry` (in place, at the failed steps) or `replay` (a new run of the live release each; the dead letter
    leaves the list). What gives up later is not part of it. Raises BadInput `bad_mode` | `bad_rate` | `bad_reason` |
    `too_many`; Conflict `nothing_to_replay`.
    """
    reason = check_reason(reason)
    if mode not in ReplayBatch.Mode.values:
        raise BadInput("Dead letters are retried in place (retry) or replayed as new runs (replay).", code="bad_mode")
    if not 0 <= rate <= MAX_RATE:
        raise BadInput(f"A rate is from 0 (at once) to {MAX_RATE} runs a minute.", code="bad_rate")
    rows = dead_letters(actor, asked, Role.OPERATOR).order_by("dead_at", "pk")
    found = list(rows.values_list("pk", flat=True)[: MAX_RUNS + 1])
    if not found:
        raise Conflict("No dead letter that you operate matches.", code="nothing_to_replay", hint="Widen the filter.")
    if len(found) > MAX_RUNS:
        raise BadInput(f"More than {MAX_RUNS} dead letters match.", code="too_many", hint="Narrow the filter.")
    batch = _insert(actor, asked, mode, reason, rate, found)
    data = {"mode": mode, "rate": rate, "reason": reason, "filter": asked.to_json(), "total": len(found)}
    _record(actor, "started", batch, data)
    return batch


def _insert(actor: Actor, asked: Filter, mode: str, reason: str, rate: int, found: list[str]) -> ReplayBatch:
    now = clock.now()
    batch = ReplayBatch.objects.create(
        mode=mode, filter=asked.to_json(), reason=reason, rate=rate, total=len(found), created_at=now, next_at=now,
        actor=actor.name[:150], actor_kind=actor.kind, user=actor.user, scopes=list(actor.scopes),
    )  # fmt: skip
    ReplayItem.objects.bulk_create([ReplayItem(batch=batch, run_id=pk) for pk in found], batch_size=500)
    return batch


@transaction.atomic
def abort_replay(*, actor: Actor, batch_id: int, reason: str = "") -> ReplayBatch:
    """Leave what was not replayed yet as it is. Raises NotFound, BadInput; Conflict `replay_ended`."""
    visible_replay(actor, batch_id)
    batch = ReplayBatch.objects.select_for_update(of=("self",)).get(pk=batch_id)
    if batch.status != ReplayBatch.Status.RUNNING:
        raise Conflict("The replay has ended already.", code="replay_ended", details={"status": batch.status})
    if len(reason) > 500:
        raise BadInput("A reason has at most 500 characters.", code="bad_reason")
    batch.ended_by = actor.name[:150]
    end(batch, ReplayBatch.Status.ABORTED, clock.now())
    _record(actor, "aborted", batch, {"reason": reason, "done": batch.done, "failed": batch.failed})
    return batch


def end(batch: ReplayBatch, status: str, now: float) -> None:
    """In the transaction that locked it."""
    batch.status, batch.next_at, batch.ended_at = status, None, now
    batch.save(update_fields=["status", "next_at", "ended_at", "done", "failed", "ended_by"])


def may_see(actor: Actor, batch: ReplayBatch) -> bool:
    """Whoever started it, and operators of everything: it names runs of several folders."""
    return can(actor, Role.OPERATOR) or (actor.user is not None and batch.user_id == actor.user.pk)


def visible_replay(actor: Actor, batch_id: int) -> ReplayBatch:
    """Raises NotFound, also for one that the actor may not see."""
    batch = ReplayBatch.objects.filter(pk=batch_id).first() if batch_id < 2**62 else None
    if batch is None or not may_see(actor, batch):
        raise NotFound("There is no such replay, or you may not see it.", code="replay_not_found")
    return batch


def now_of(items: Sequence[ReplayItem]) -> dict[int, str]:
    """Item's id -> the status that the run it led to has now: the same run in place, or the new one."""
    led = {item.pk: item.new_run or item.run_id for item in items if item.status == ReplayItem.Status.DONE}
    statuses = dict(Run.objects.filter(pk__in=led.values()).values_list("pk", "status"))
    return {pk: statuses[run_id] for pk, run_id in led.items() if run_id in statuses}


def list_replays(actor: Actor, limit: int = 50) -> list[ReplayBatch]:
    """The newest first: all of them for operators of everything, else one's own."""
    rows = ReplayBatch.objects.order_by("-pk")
    if not can(actor, Role.OPERATOR):
        if actor.user is None:
            return []
        rows = rows.filter(user=actor.user)
    return list(rows[:limit])


def _record(actor: Actor, what: str, batch: ReplayBatch, data: dict[str, object]) -> None:
    audit.record(
        actor=actor, action=f"dead_letters.replay_{what}", object_type="replay", object_id=str(batch.pk), data=data
    )
