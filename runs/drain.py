"""A cluster that stops: attempts in flight end by themselves, or are handed back for others to repeat.

The watcher leaves a mark when the cluster stops in good order (runs/watch.py); its age says how far the stop has come.
What may be repeated without a second effect is handed back some seconds before STOP_SECONDS are over: recorded as such,
ready for others at once, with the same idempotency key, and counted neither as a try nor as lost. What may not be
repeated has until the end; then its lease is ended, and the attempt counts as lost.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from django.conf import settings
from django.db import DatabaseError

from flows.resolve import ResolveError
from runs import acting, clock, queue, store
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.engine.state import RUNNING
from runs.models import Work
from runs.queue import Claim
from runs.queue_rows import Fenced, Hold
from runs.store import Stale

logger = logging.getLogger(__name__)

Phase = Literal["working", "finishing", "handing_back", "over"]
#: tries to hand back an attempt of a run that moves
TRIES: Final = 20


def phase(stopped_for: float | None, seconds: float) -> Phase:
    """How far the stop has come, `stopped_for` seconds after it was asked for (None: it was not). Pure."""
    if stopped_for is None:
        return "working"
    if stopped_for >= seconds - min(2.0, seconds / 4):
        return "over"
    return "handing_back" if stopped_for >= seconds - min(6.0, seconds / 2) else "finishing"


class Drain:
    """Of one worker process; asked by the thread that keeps its leases."""

    def __init__(self, owner: str, mark: Path) -> None:
        self.owner, self.mark = owner, mark

    def phase(self) -> Phase:
        try:
            stopped_for = max(0.0, time.time() - self.mark.stat().st_mtime)
        except OSError:
            return "working"
        return phase(stopped_for, settings.STOP_SECONDS)

    def look(self, held: Sequence[Claim]) -> None:
        """Hand back what is held, once its time has come. Ends this process when nothing of it is left to wait for."""
        now = self.phase()
        if now not in ("handing_back", "over"):
            return
        try:
            left = [row for row in held if row.kind == Work.Kind.STEP and not self._hand_back(row)]
            if now == "over" and left:
                logger.warning("%s attempts did not end in time and count as lost", len(left))
                queue.end_leases(self.owner, clock.now())
        except DatabaseError as error:
            logger.warning("what is in flight could not be handed back: %s", error)
            return
        if now == "over" or not left:
            os._exit(0)  # the attempt's own thread cannot be stopped: it may sit in a system call

    def _hand_back(self, row: Claim) -> bool:
        """True when the attempt behind this row is no longer this worker's. False: it must not be repeated."""
        for _ in range(TRIES):
            loaded = store.load(row.run_id)
            if loaded is None:
                return True
            step = loaded.state.step(row.step, row.item)
            if step.status != RUNNING or row.id not in {r.id for r in queue.held_by(self.owner, row.run_id)}:
                return True
            if not _is_repeatable(loaded, row):
                return False
            event = given.AttemptLost(step.id, step.item, step.attempt, repeatable=True, handed_back=True)
            now = clock.now()
            urls = acting.urls_of(loaded.plan, loaded.state)
            decision = decide(loaded.plan, loaded.state, event, now, urls=urls)
            try:
                store.save(loaded, store.Save([decision], now, Hold(self.owner, [row])))
            except Stale:
                continue
            except Fenced:
                return True
            logger.warning("run %s: attempt %s of %s was handed back", row.run_id, step.attempt, step.id)
            return True
        return False


def _is_repeatable(loaded: store.Loaded, row: Claim) -> bool:
    step = loaded.state.step(row.step, row.item)
    try:
        action = acting.action_of(loaded, step)
    except ResolveError:
        return False
    return acting.is_repeatable(acting.effective(loaded.plan, step), action)
