"""A run that breaks the worker itself (a bug of ours, a damaged row): put aside, and failed when it stays so."""

from __future__ import annotations

from typing import Final

from django.db import transaction

from runs import bell, children, clock, history, limits, queue, signals
from runs.models import Run, RunStatus, WaitToken, Work
from runs.queue import Claim

#: claims of one row before its run is given up
MAX_CLAIMS: Final = 5
#: seconds before the next try
PAUSE: Final = 5.0


def set_aside(claim: Claim, owner: str) -> None:
    """Try again later, or fail the run where that did not help."""
    if claim.fence < MAX_CLAIMS:
        queue.give_back(claim, owner, clock.now() + PAUSE * claim.fence)
    else:
        fail(claim.run_id)


def _close_waits(run_id: str, now: float) -> None:
    """Nobody waits for an answer any more; open approvals are withdrawn."""
    for row in WaitToken.objects.select_for_update().filter(run_id=run_id, status=WaitToken.Status.OPEN):
        row.status = WaitToken.Status.CLOSED
        row.save(update_fields=["status"])
        signals.wait_closed.send(sender=None, token=row.token, reason="withdrawn", now=now)


def fail(run_id: str) -> None:
    """End the run as failed, whatever state it is in, without asking the core."""
    message = "Orchestra could not carry this run on; the log of the workers says why."
    error = {"class": "internal", "message": message}
    now = clock.now()
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        if run.ended:
            return
        run.status, run.error, run.ended_at = RunStatus.FAILED, error, now
        run.error_class, run.dead_at = "internal", now
        run.save(update_fields=["status", "error", "ended_at", "error_class", "dead_at"])
        Work.objects.filter(run_id=run_id).delete()
        _close_waits(run_id, now)
        history.append(run_id, "run.failed", data={"error": error})
        limits.free(run.flow_id, run.limit_key, run.placed, now)
        children.wake_parent(run_id, now)
    bell.ring(bell.WORK, bell.EVENTS)
