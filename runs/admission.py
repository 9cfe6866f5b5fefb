"""Places for queued runs: the oldest of a key first, or of a flow where it has no keys."""

from __future__ import annotations

from typing import Final

from django.db import transaction

from resources.access import Actor
from resources.errors import Conflict
from runs import actions, beginnings, bell, clock, gates, history, limits, store
from runs.models import Run, RunStatus

#: runs admitted by one piece of work; what is left is another one's
MAX_AT_ONCE: Final = 100
SYSTEM: Final = Actor.system("concurrency")


def admit(run_id: str) -> int:
    """Give free places to the oldest runs in line with this one, each in a transaction. Gives how many.

    Where the flow says `cancel_running`, what still holds a place that is wanted is cancelled.
    """
    run = Run.objects.only("flow_id", "limit_key").filter(pk=run_id).first()
    if run is None:
        return 0
    admitted = 0
    while admitted < MAX_AT_ONCE and _admit_oldest(run.flow_id, run.limit_key):
        admitted += 1
    left = limits.waiting(run.flow_id, run.limit_key)
    if left and admitted == MAX_AT_ONCE:
        limits.admit_later(left[0], clock.now())
    elif left and run.limit_key:
        _cancel_older(run.flow_id, run.limit_key, left)
    if admitted:
        bell.ring(bell.WORK, bell.EVENTS)
    return admitted


def _admit_oldest(flow_id: int, digest: str) -> bool:
    with transaction.atomic():
        waiting = Run.objects.filter(flow_id=flow_id, limit_key=digest, status=RunStatus.QUEUED, placed=False)
        run = waiting.select_for_update(of=("self",)).order_by("created_at", "pk").first()
        if run is None or run.placed or gates.read(flow_id).holds(run.release_id):
            return False
        plan = store.plan_of(run.release_id)
        if digest and plan.concurrency is not None:
            counter = limits.lock(run.flow_id, digest, "")
            if not limits.take(counter, plan.concurrency.limit):
                return False
        run.placed = True
        run.save(update_fields=["placed"])
        beginnings.enqueue_start(run.pk, clock.now(), plan, run.flow_id, run.priority)
        history.append(run.pk, "run.admitted")
    return True


def _cancel_older(flow_id: int, digest: str, left: list[str]) -> None:
    """Where the newest run in line cancels what came before it: cancel as many of the oldest as places are wanted."""
    newest = Run.objects.only("flow_id", "release_id").get(pk=left[-1])
    rule = store.plan_of(newest.release_id).concurrency
    if rule is None or rule.on_conflict != "cancel_running" or gates.read(flow_id).holds(newest.release_id):
        return
    going = Run.objects.filter(flow_id=flow_id, ended_at__isnull=True, limit_key=digest)
    staying = going.exclude(status__in=(RunStatus.CANCELLING, RunStatus.COMPENSATING))
    ids = list(staying.order_by("created_at", "pk").values_list("pk", flat=True))
    for older in ids[: max(0, len(ids) - rule.limit)]:
        cancel(older, f"A newer run of the same concurrency key took its place: {newest.pk}.")


def cancel(run_id: str, reason: str) -> bool:
    """Cancel a run on the engine's own account. False where it ended (or is ending) by itself meanwhile."""
    try:
        actions.cancel_run(actor=SYSTEM, run_id=run_id, reason=reason)
    except Conflict:
        return False
    return True
