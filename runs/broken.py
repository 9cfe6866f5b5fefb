"""A run that breaks the worker itself (a bug of ours, a damaged row): put aside, and failed when it stays so."""

from __future__ import annotations

import logging
from typing import Final

from django.db import DatabaseError, transaction

from resources.backends.errors import Unreachable
from resources.crypto import KeyMissing
from runs import bell, children, clock, history, limits, queue, signals, store
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.engine.ending import GIVEN_UP
from runs.models import Run, RunStatus, WaitToken, Work
from runs.queue import Claim

logger = logging.getLogger(__name__)

#: claims of one row before its run is given up
MAX_CLAIMS: Final = 5
#: seconds before the next try
PAUSE: Final = 5.0
#: tries to end a run that moves
TRIES: Final = 20
#: what nobody can read now, and somebody has to mend
NOT_NOW: Final = (KeyMissing, Unreachable)
#: and before the next look at a run that no key of the ring opens
UNREADABLE: Final = 60.0


def set_aside(claim: Claim, owner: str) -> None:
    """Try again later, or fail the run where that did not help."""
    if claim.fence < MAX_CLAIMS:
        queue.give_back(claim, owner, clock.now() + PAUSE * claim.fence)
    else:
        fail(claim.run_id)


def wait_for_key(claim: Claim, owner: str, error: KeyMissing | Unreachable) -> None:
    """What nobody can read now is not given up, however long it takes until its key is back in the ring, or the
    store of a secret answers: what comes from outside is not kept before it was looked at for that secret."""
    logger.error("run %s waits for somebody to look: %s %s", claim.run_id, error.message, error.hint)
    queue.give_back(claim, owner, clock.now() + UNREADABLE)


def _close_waits(run_id: str, now: float) -> None:
    """Nobody waits for an answer any more; open approvals are withdrawn."""
    for row in WaitToken.objects.select_for_update().filter(run_id=run_id, status=WaitToken.Status.OPEN):
        row.status = WaitToken.Status.CLOSED
        row.save(update_fields=["status"])
        signals.wait_closed.send(sender=None, token=row.token, reason="withdrawn", now=now)


def fail(run_id: str) -> None:
    """End the run as failed, whatever state it is in: the core decides it, as one more recorded input. Where it is the
    core or the run's rows that are broken, the run's own row says so all the same."""
    try:
        for _ in range(TRIES):
            if _fail_by_the_core(run_id):
                return
    except DatabaseError:
        raise
    except Exception:
        logger.exception("run %s cannot even be ended in good order", run_id)
    _fail_the_row(run_id)


def _fail_by_the_core(run_id: str) -> bool:
    """False: the run moved meanwhile."""
    loaded = store.load(run_id)
    if loaded is None or loaded.state.ended:
        return True
    now = clock.now()
    try:
        store.save(loaded, store.Save([decide(loaded.plan, loaded.state, given.GivenUp(), now)], now))
    except store.Stale:
        return False
    return True


def _fail_the_row(run_id: str) -> None:
    """Without reading anything but the run's row; the history of such a run does not fold."""
    now = clock.now()
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        if run.ended:
            return
        run.status, run.error, run.ended_at = RunStatus.FAILED, GIVEN_UP, now
        run.error_class, run.dead_at = GIVEN_UP["class"], now
        run.version += 1
        run.save(update_fields=["status", "error", "ended_at", "error_class", "dead_at", "version"])
        Work.objects.filter(run_id=run_id).delete()
        _close_waits(run_id, now)
        history.append(run_id, "run.failed", data={"error": GIVEN_UP})
        limits.free(run.flow_id, run.limit_key, run.placed, now)
        children.wake_parent(run_id, now)
    bell.ring(bell.WORK, bell.EVENTS)
