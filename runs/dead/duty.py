"""The keeper's duty: working replay batches off, in bounded steps.

A run, its item and the batch's count change in one transaction under the batch's lock: however many keepers there are,
and wherever one dies, each run is replayed at most once. Lock order: the batch, the run, then as anywhere.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from django.db import InterfaceError, OperationalError, transaction

from resources import audit
from resources.access import Actor
from resources.errors import OrchestraError
from runs import clock, controls, copies
from runs.dead.dismissing import lock_letter, put_away
from runs.dead.replays import end
from runs.models import ReplayBatch, ReplayItem

logger = logging.getLogger(__name__)

#: a replay that is due, or about to be
WHEN: Final = "EXISTS (SELECT 1 FROM runs_replaybatch WHERE next_at <= %(now)s + 1)"
#: seconds of one turn; the keeper has other duties
SLICE: Final = 0.1
#: batches looked at in one turn
BATCHES: Final = 20
BROKE: Final = "Replaying it broke on our side; the log of the keeper has more."


def turn(now: float) -> float | None:
    """Replay what is due; gives when the next run is."""
    due = ReplayBatch.objects.filter(next_at__lte=now).order_by("next_at").values_list("pk", flat=True)
    stop = time.monotonic() + SLICE
    for pk in list(due[:BATCHES]):
        while step(pk, clock.now()) and time.monotonic() < stop:
            pass
    running = ReplayBatch.objects.filter(next_at__isnull=False).order_by("next_at")
    return running.values_list("next_at", flat=True).first()


@transaction.atomic
def step(batch_id: int, now: float) -> bool:
    """Replay the next run of a batch, if one is due at `now`. False where none was."""
    batch = (
        ReplayBatch.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("user")
        .filter(pk=batch_id, next_at__lte=now)
        .first()
    )
    if batch is None:
        return False
    item = batch.items.filter(status=ReplayItem.Status.PENDING).order_by("pk").first()
    if item is None:  # the rest went with its runs
        _finish(batch, now)
        return False
    _replay(batch, item)
    _count(batch, item, now)
    if not batch.items.filter(status=ReplayItem.Status.PENDING).exists():
        _finish(batch, now)
    return True


def _replay(batch: ReplayBatch, item: ReplayItem) -> None:
    """What a run refuses, and a bug that only it meets, are in its item; the others go on."""
    try:
        with transaction.atomic():
            item.new_run = _apply(batch, item.run_id)
        item.status = ReplayItem.Status.DONE
    except OrchestraError as error:
        _refused(item, error.stable_code, error.message)
    except (OperationalError, InterfaceError):
        raise  # the database is away: all of it is done again
    except Exception as error:  # one that breaks must not stop the others
        logger.error("replay %s cannot replay %s", batch.pk, item.run_id, exc_info=error)
        _refused(item, "internal", BROKE)


def _refused(item: ReplayItem, code: str, message: str) -> None:
    item.status, item.code, item.message = ReplayItem.Status.FAILED, code[:64], message[:500]


def _apply(batch: ReplayBatch, run_id: str) -> str:
    """Give the id of the new run, "" where there is none."""
    actor = _actor(batch)
    run = lock_letter(run_id)
    reason = f"{batch.reason} (replay {batch.pk} of dead letters)"
    if batch.mode == ReplayBatch.Mode.RETRY:
        controls.retry_run(actor=actor, run_id=run_id, reason=reason)
        return ""
    started = copies.replay_run(actor=actor, run_id=run_id, reason=reason)
    put_away(run, actor, f"Replayed as {started.run.pk}: {reason}"[:1000])
    return str(started.run.pk)


def _actor(batch: ReplayBatch) -> Actor:
    """Whoever started it, with what they may do now."""
    return Actor(batch.actor_kind, batch.actor, batch.user, scopes=tuple(batch.scopes))  # type: ignore[arg-type]


def _count(batch: ReplayBatch, item: ReplayItem, now: float) -> None:
    item.at = now
    item.save(update_fields=["status", "new_run", "code", "message", "at"])
    if item.status == ReplayItem.Status.DONE:
        batch.done += 1
    else:
        batch.failed += 1
    every = 60.0 / batch.rate if batch.rate else 0.0
    due = (batch.next_at or now) + every  # the rate holds on average, but a keeper that was away catches up nothing
    batch.next_at = due if due > now else now + every
    batch.save(update_fields=["done", "failed", "next_at"])


def _finish(batch: ReplayBatch, now: float) -> None:
    end(batch, ReplayBatch.Status.DONE, now)
    data = {"mode": batch.mode, "total": batch.total, "done": batch.done, "failed": batch.failed}
    audit.record(
        actor=_actor(batch),
        action="dead_letters.replay_done",
        object_type="replay",
        object_id=str(batch.pk),
        data=data,
    )
