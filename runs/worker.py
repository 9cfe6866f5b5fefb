"""A worker: claims a row, and carries it as far as it goes (runs/slice.py)."""

from __future__ import annotations

import logging

from django.db import DatabaseError

from runs import admission, broken, clock, queue, store
from runs.heart import Heart
from runs.models import Work
from runs.queue import Claim
from runs.slice import Slice
from runs.store import Loaded

logger = logging.getLogger(__name__)


class Worker:
    def __init__(self, owner: str, heart: Heart | None = None) -> None:
        self.owner = owner
        self.heart = heart or Heart(owner)
        self.stopping = False
        self.only_short = False  # the one of its cluster that takes no long steps
        self.last: Loaded | None = None  # the next claim is often of the same run: then only what moved is read

    def work_once(self) -> bool:
        """Claim one row and carry it as far as it goes. False when nothing was due."""
        claim = queue.claim(self.owner, only_short=self.only_short)
        if claim is None:
            return False
        try:
            self._work_on(claim)
        except DatabaseError:
            raise
        except Exception:
            logger.exception("run %s broke its worker", claim.run_id)
            broken.set_aside(claim, self.owner)
        return True

    def _work_on(self, claim: Claim) -> None:
        if claim.kind == Work.Kind.ADMIT:
            admission.admit(claim.run_id)
            queue.drop(claim, self.owner)
            return
        before = self.last if self.last is not None and self.last.state.run_id == claim.run_id else None
        self.last = None  # nothing is kept of a run that breaks
        loaded = store.load(claim.run_id, before)
        if loaded is None or loaded.state.ended:
            queue.drop(claim, self.owner)
            return
        work = Slice(self, loaded, claim)
        work.go()
        self.last = work.loaded

    def recover(self) -> None:
        """After a lost database connection: whatever a lost answer left with this worker goes to whoever is free."""
        queue.end_leases(self.owner, clock.now())
