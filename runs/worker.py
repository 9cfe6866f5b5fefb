"""A worker: claims rows, and carries their runs as far as they go (runs/crew.py)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from django.conf import settings
from django.db import DatabaseError

from resources.crypto import KeyMissing
from runs import admission, broken, children, clock, loading, queue, ranks, store
from runs.crew import Crew
from runs.heart import Heart
from runs.models import Work
from runs.pace import Pace
from runs.queue import Claim
from runs.slice import Slice
from runs.store import Loaded

logger = logging.getLogger(__name__)

#: rows claimed at once at most
MAX_RUNS: Final = 32
#: what is done for a run without being a step of it
_ERRANDS: Final[dict[str, Callable[[str], object]]] = {
    Work.Kind.ADMIT: lambda run_id: admission.admit(run_id),
    Work.Kind.CLOSE: lambda run_id: children.close(run_id),
}


class Worker:
    def __init__(self, owner: str, heart: Heart | None = None) -> None:
        self.owner = owner
        self.heart = heart or Heart(owner)
        self.stopping = False
        self.only_short = False  # the one of its cluster that takes no long steps
        self.queues: Sequence[str] = settings.QUEUES
        self.pace = Pace()
        self.room = 1  # rows to claim at once
        self.last: Loaded | None = None  # the next claim is often of the same run: then only what moved is read

    def work_once(self) -> bool:
        """Claim what is due and carry it as far as it goes. False when nothing was due.

        One row at first; while there is more due each time, several, so that their steps share commits.
        """
        claims = queue.claim_some(self.owner, self.queues, only_short=self.only_short, limit=self.room)
        self.room = min(MAX_RUNS, 2 * self.room) if len(claims) == self.room else max(1, len(claims))
        for claim in claims:
            if claim.kind in _ERRANDS:
                self._run_errand(claim)
        slices = self._slices([claim for claim in claims if claim.kind not in _ERRANDS])
        self.last = None  # nothing is kept of a run that breaks
        if slices:
            crew = Crew(self, slices)
            crew.go()
            self.last = slices[0].loaded if len(slices) == 1 else None
        if claims:  # what becomes ready from now on is ranked by how far the line is behind
            for name in self.queues:
                ranks.look(name)
        return bool(claims)

    def _run_errand(self, claim: Claim) -> None:
        try:
            _ERRANDS[claim.kind](claim.run_id)
        except DatabaseError:
            raise
        except KeyMissing as error:
            broken.wait_for_key(claim, self.owner, error)
        except Exception:
            logger.exception("an errand (%s) for run %s broke its worker", claim.kind, claim.run_id)
            broken.set_aside(claim, self.owner)
        else:
            queue.drop(claim, self.owner)

    def _slices(self, claims: Sequence[Claim]) -> list[Slice]:
        """One for each run that goes on."""
        by_run: dict[str, list[Claim]] = {}
        for claim in claims:
            by_run.setdefault(claim.run_id, []).append(claim)
        slices = []
        makes = store.load_some(list(by_run)) if len(by_run) > 1 else None
        for run_id, rows in by_run.items():
            try:
                loaded = self._load(rows[0], makes)
            except DatabaseError:
                raise
            except KeyMissing as error:
                broken.wait_for_key(rows[0], self.owner, error)
                continue
            except Exception:
                logger.exception("run %s broke its worker", run_id)
                broken.set_aside(rows[0], self.owner)
                continue
            if loaded is None or loaded.state.ended:
                for row in rows:
                    queue.drop(row, self.owner)
            else:
                slices.append(Slice(self, loaded, *rows))
        return slices

    def _load(self, claim: Claim, makes: Mapping[str, Callable[[], Loaded]] | None) -> Loaded | None:
        run_id = claim.run_id
        if claim.run is not None:
            return loading.new(claim.run)
        if makes is not None:
            return makes[run_id]() if run_id in makes else None
        return store.load(run_id, self.last if self.last and self.last.state.run_id == run_id else None)

    def recover(self, run_id: str | None = None) -> None:
        """After a lost database connection: whatever a lost answer left with this worker goes to whoever is free."""
        queue.end_leases(self.owner, clock.now(), run_id)
