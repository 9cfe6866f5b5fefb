"""Places for queued runs of a concurrency key: the oldest first."""

from __future__ import annotations

from django.db import transaction

from runs import beginnings, bell, clock, history, limits, store
from runs.models import Run, RunStatus


def admit(run_id: str) -> int:
    """Give free places of this run's key to its oldest queued runs, each in a transaction. Gives how many."""
    digest = Run.objects.values_list("limit_key", flat=True).filter(pk=run_id).first()
    admitted = 0
    while digest and _admit_oldest(digest):
        admitted += 1
    if admitted:
        bell.ring(bell.WORK, bell.EVENTS)
    return admitted


def _admit_oldest(digest: str) -> bool:
    with transaction.atomic():
        waiting = Run.objects.filter(limit_key=digest, status=RunStatus.QUEUED, placed=False)
        run = waiting.select_for_update().order_by("created_at").first()
        if run is None or run.placed:
            return False
        plan = store.plan_of(run.release_id)
        counter = limits.lock(run.flow_id, digest, "")
        if plan.concurrency is not None and not limits.take(counter, plan.concurrency.limit):
            return False
        run.placed = True
        run.save(update_fields=["placed"])
        beginnings.enqueue_start(run.pk, clock.now(), plan)
        history.append(run.pk, "run.admitted")
    return True
