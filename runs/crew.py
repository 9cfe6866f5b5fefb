"""Several runs carried by one worker at once: their pure steps take turns, and their results share commits.

A round executes what has been started, at most for SHARE seconds, and ends with one transaction for all runs it touched
(runs/together.py). So a result is durable before its successor starts, yet has no commit of its own. A step with an
effect outside the database is executed only by a worker that carries nothing else, and is committed at once.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError

from runs import broken, clock, queue, starting, together
from runs.engine.state import Key
from runs.meaning import meaning_of
from runs.pace import SLOW
from runs.slice import GRACE, Happened, Proposal, Slice
from runs.store import Stale

if TYPE_CHECKING:
    from runs.worker import Worker

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: seconds a worker goes on inline while others wait for a worker. Where it only computes, half of it of its own
#: processor time, and five times as much at most: with more workers than cores most of the clock's goes to the others
SLICE: Final = 0.1
#: seconds of their own that pure results may wait for each other's commit, waiting for the processor not counted
SHARE: Final = 0.02
#: seconds of one attempt up to which its run may start more of them at once
QUICK: Final = 0.005


class Crew:
    """The runs a worker carries, from their claims to where they wait, end, or are left to others."""

    def __init__(self, worker: Worker, slices: Sequence[Slice]) -> None:
        self.worker = worker
        self.slices = list(slices)
        self.running: deque[tuple[Slice, Key]] = deque()  # started and not executed yet
        self.began = time.monotonic(), time.process_time()
        self.computed = True  # and done nothing else so far

    def go(self) -> None:
        self._commit({s: [Happened(meaning_of(e), e) for e in s.entries] for s in self.slices})
        while self.running:
            self._commit(self._execute())

    # -- executing -----------------------------------------------------------------------------------------------
    def _execute(self) -> dict[Slice, list[Happened]]:
        """Run attempts one after the other, as long as their results may wait for each other."""
        ended: dict[Slice, list[Happened]] = {}
        spent = 0.0
        held = [row for s in self.slices for row in s.rows.values()]
        while self.running:
            slice_, key = self.running[0]
            pure = starting.is_pure(slice_.loaded, key[0])
            if ended and not pure:
                break  # what is known already does not wait for a long attempt
            self.computed &= pure
            self.running.popleft()
            began = time.monotonic()
            attempt = slice_.attempt(key)
            with self.worker.heart.beat(held, attempt.now + attempt.seconds + GRACE, attempt.live):
                ended.setdefault(slice_, []).append(slice_.execute(attempt))
            now = time.monotonic()
            if pure:
                self.worker.pace.note(slice_.loaded, key[0], now - began)
                spent += self.worker.pace.least(slice_.loaded, key[0])
            if self.worker.pace.is_slow(slice_.loaded, key[0]) if pure else now - began > SLOW:
                self.worker.room = 1
            quick = pure and (now - began < QUICK or self.worker.pace.is_quick(slice_.loaded, key[0]))
            slice_.room = min(starting.MAX_BATCH, slice_.room * 2) if quick else 1
            if not pure or spent > SHARE:
                break
        return ended

    # -- committing ----------------------------------------------------------------------------------------------
    def _commit(self, pending: dict[Slice, list[Happened]]) -> None:
        self._tell()
        alone = self._commit_together(pending) if len(pending) > 1 else [(s, h, None) for s, h in pending.items()]
        for slice_, happened, error in alone:
            self._guarded(slice_, lambda s=slice_, h=happened, e=error: self._go_on(s, s.commit(h, e)))  # type: ignore[misc]

    def _tell(self) -> None:
        """Each slice asks for itself how it may go on; what it depends on is the same for all of them."""
        yields = self._should_yield()
        for slice_ in self.slices:
            slice_.yields, slice_.shared = yields, len(self.slices) > 1
            slice_.lead = slice_ is self.slices[0]

    def _should_yield(self) -> bool:
        if self.worker.stopping:
            return True
        steady, cpu = self.began
        if self.computed and time.process_time() - cpu < SLICE / 2:
            steady += 4 * SLICE  # most of the time was others'
        if time.monotonic() - steady < SLICE:
            return False
        due = queue.look(1, self.worker.queues)
        return bool(due) and due[0] <= clock.now()

    def _commit_together(
        self, pending: dict[Slice, list[Happened]]
    ) -> list[tuple[Slice, list[Happened], Exception | None]]:
        """Save what can be saved in one transaction. Gives what has to be saved alone, and why."""
        alone: list[tuple[Slice, list[Happened], Exception | None]] = []
        made: list[tuple[Slice, list[Happened], Proposal, together.Record]] = []
        for slice_, happened in pending.items():
            try:
                proposal = self._guarded(slice_, lambda s=slice_, h=happened: s.propose(h))  # type: ignore[misc]
            except Stale as moved:  # while it looked
                alone.append((slice_, happened, moved))
                continue
            if proposal is None:
                continue
            record = together.record(slice_.loaded, proposal.saving) if proposal.saving is not None else None
            if record is None:
                alone.append((slice_, happened, None))
            else:
                made.append((slice_, happened, proposal, record))
                slice_.try_(proposal)
        try:
            outcomes = together.save(self.worker.owner, [record for *_, record in made]) if made else []
        except (IntegrityError, together.Moved):  # one of them is at odds with somebody's: let each find out alone
            return [*alone, *((s, h, None) for s, h, *_ in made)]
        except (OperationalError, InterfaceError) as error:
            return [*alone, *((s, h, error) for s, h, *_ in made)]
        for (slice_, happened, proposal, _), outcome in zip(made, outcomes, strict=True):
            if isinstance(outcome, Exception):
                alone.append((slice_, happened, outcome))
            else:
                started = slice_.accept(proposal, *outcome)
                self._go_on(slice_, started)
        return alone

    def _go_on(self, slice_: Slice, started: Sequence[Key] | None) -> None:
        if started is None:
            self._leave(slice_)
            return
        self.running.extend((slice_, key) for key in started)
        if not all(self.worker.pace.is_quick(slice_.loaded, step) for step in slice_.kept):
            slice_.share()  # more than one should do
        if not any(s is slice_ for s, _ in self.running):
            self._leave(slice_)

    def _leave(self, slice_: Slice) -> None:
        self.slices = [s for s in self.slices if s is not slice_]
        self.running = deque(pair for pair in self.running if pair[0] is not slice_)
        slice_.share()

    def _guarded(self, slice_: Slice, work: Callable[[], T]) -> T | None:
        """A run that breaks its worker is set aside; the others go on."""
        try:
            return work()
        except (DatabaseError, Stale):
            raise
        except broken.NOT_NOW as error:
            self._leave(slice_)
            broken.wait_for_key(slice_.first, self.worker.owner, error)
            return None
        except Exception:
            logger.exception("run %s broke its worker", slice_.loaded.state.run_id)
            self._leave(slice_)
            broken.set_aside(slice_.first, self.worker.owner)
            return None
