"""One run in a worker's hands: execute, decide, save, and go on inline while there is something to go on with.

One commit ends a step, opens what follows, and starts the next step of this worker; pure steps side by side (the items
of a fan-out, or runs side by side: runs/crew.py) share one. Work itself runs outside any transaction. Losing a race is
normal: the loser decides again on fresh state, or drops what it holds and leaves.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from runs import acting, asking, attempts, bell, clock, kept, queue, queue_rows, ranks, starting, store
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.engine.state import CLAIMABLE, READY, RUN_HELD, RUNNING, WAITING, Key, State
from runs.engine.turn import Decision, Event
from runs.meaning import just
from runs.models import Work
from runs.proposals import Happened, Parts, Proposal, Tried
from runs.queue import Claim
from runs.queue_rows import Fenced, Hold, Taken
from runs.starting import Start
from runs.store import Loaded, Stale

if TYPE_CHECKING:
    from runs.worker import Worker

__all__ = ["Happened", "Parts", "Proposal", "Slice", "Tried"]
logger = logging.getLogger(__name__)

#: seconds a lease outlives the attempt's own timeout, for the commit after it
GRACE: Final = 10.0


class Slice:
    """One run as this worker carries it on, from one row claimed or several."""

    def __init__(self, worker: Worker, loaded: Loaded, claim: Claim, *more: Claim) -> None:
        self.worker, self.loaded = worker, loaded
        self.first = claim
        self.entries: list[Claim] = [claim, *more]
        self.rows: dict[Key, Claim] = {}  # of the attempts this worker has started and not ended
        self.avoid: set[Key] = set()  # steps others were faster at
        self.kept: set[str] = set()  # steps whose ready rows are left to this worker
        self.room = 1  # pure steps to start together: grows while they are quick
        self.tried: Tried | None = None
        self.ahead = attempts.Ahead()
        self.yields = False  # others wait for a worker, and this one had its share
        self.lead = True  # of all runs the worker carries, the one that goes on in any case
        self.shared = False  # the worker carries other runs, too: only quick, pure steps

    def attempt(self, key: Key) -> attempts.Attempt:
        """The attempt that was started at this step."""
        return self.ahead.take(self.loaded, key)

    def execute(self, attempt: attempts.Attempt) -> Happened:
        """Run it to its end."""
        return Happened(just(attempt.run()), self.rows[attempt.step.key], attempt.lines)

    # -- deciding and saving -----------------------------------------------------------------------------------
    def commit(self, happened: Sequence[Happened], error: Exception | None = None) -> list[Key] | None:
        """Decide, choose how to go on, save. Gives the steps started, or None when all is to be dropped.

        `error`: what a first try, together with other runs, came to.
        """
        end = time.monotonic() + settings.LEASE_SECONDS  # after that, nothing held is ours any more
        overtaken = 0
        while time.monotonic() < end:
            try:
                if error is not None:
                    raise error
                return self._try_commit(happened)
            except Stale:
                fresh = store.load(self.loaded.state.run_id, self.loaded)
            except Taken as taken:
                self.avoid.add(taken.args[0])
                fresh = store.load(self.loaded.state.run_id, self.loaded)
            except Fenced:
                break
            except (OperationalError, InterfaceError) as lost:
                fresh = self._reconnect(lost)
                if fresh is not None and (started := self._adopt(fresh)) is not None:
                    return started
            if fresh is None:
                return None
            self.loaded, error = fresh, None
            overtaken += 1
            time.sleep(random.random() * min(0.05, 0.0005 * overtaken))  # noqa: S311  lets one of many through
        logger.info("run %s: what this worker held is somebody else's", self.loaded.state.run_id)
        self.worker.recover(self.loaded.state.run_id)
        return None

    def _try_commit(self, happened: Sequence[Happened]) -> list[Key]:
        proposal = self.propose(happened)
        if proposal.parts is not None:
            return self._commit_limited(proposal.parts)
        if proposal.saving is None:
            self._let_go(proposal.left)
            return []
        self.try_(proposal)
        return self.accept(proposal, *store.save(self.loaded, proposal.saving))

    def propose(self, happened: Sequence[Happened]) -> Proposal:
        """Decide on what happened and choose how to go on. Writes nothing of the run."""
        now, state = clock.now(), self.loaded.state
        decisions: list[Decision] = []
        placed: list[Claim] = []
        unused: list[Claim] = []
        for one in happened:
            event = one.make(self.loaded.at(state))
            decision = self._decide(state, event, now) if event is not None else None
            if decision is None:
                unused.append(one.row)
            elif decision.accepted:
                placed.append(one.row)
                decisions.append(_with_log(decision, event, one.lines))
                state = decision.state
        starts = self._start_more(state, now)
        parts = Parts(decisions, placed, unused, starts, now)
        if asking.concerned(self.loaded, decisions, starts):
            return Proposal(None, parts=parts)
        return self._proposal(parts)

    def _proposal(self, parts: Parts) -> Proposal:
        decisions = [*parts.decisions, *(start.decision for start in parts.starts)]
        if not decisions:
            return Proposal(None, left=self.entries)
        state = parts.decisions[-1].state if parts.decisions else self.loaded.state
        takes = [start.take for start in parts.starts if start.take is not None]
        connections = [pair for start in parts.starts for pair in start.connections]
        mine = {take.key for take in takes}
        left = [r for r in parts.unused if (r.step, r.item) not in mine and _is_of_use(r, state)]
        placed = [*parts.placed, *(r for r in parts.unused if r not in left)]
        kept.keep_apart(self.loaded, decisions, self._decide, parts.now)
        keeps = frozenset(t.key[0] for t in takes if self.worker.pace.is_tiny(self.loaded, t.key[0]))
        ahead = partial(self.ahead.look, takes[0].key) if takes else None
        saving = store.Save(decisions, parts.now, Hold(self.worker.owner, placed, takes, keeps), connections, ahead)
        return Proposal(saving, placed, left, takes)

    def _commit_limited(self, parts: Parts) -> list[Key]:
        """Commit with the permits of limited connections, which go and come in this very transaction."""
        saved: tuple[Loaded, dict[Key, Claim]] | None = None
        with transaction.atomic():
            store.lock(self.loaded)
            asked = asking.ask(self.loaded, parts.decisions, parts.starts, self.worker.owner, parts.now, self._decide)
            decisions = [*parts.decisions, *asked.instead]
            proposal = self._proposal(replace(parts, decisions=decisions, starts=asked.starts))
            if proposal.saving is not None:
                self.try_(proposal)
                saved = store.save(self.loaded, proposal.saving)
            for row in proposal.left:
                self._put_back(row, decisions[-1].state if decisions else self.loaded.state)
            asked.finish()
        self.avoid |= asked.refused
        self.entries = []
        return self.accept(replace(proposal, left=()), *saved) if saved is not None else []

    def try_(self, proposal: Proposal) -> None:
        """Remember what is about to be committed, should the answer get lost."""
        assert proposal.saving is not None  # noqa: S101  for mypy
        state = proposal.saving.decisions[-1].state
        attempts_ = {t.key: state.step(*t.key).attempt for t in proposal.takes}
        self.tried = Tried(self.loaded.state.version, attempts_)

    def accept(self, proposal: Proposal, loaded: Loaded, taken: dict[Key, Claim]) -> list[Key]:
        """It is committed. Gives the steps started."""
        self.loaded = loaded
        gone = {row.id for row in proposal.placed}
        self.rows = {key: row for key, row in self.rows.items() if row.id not in gone} | taken
        if proposal.saving is not None and proposal.saving.hold is not None:
            self.kept |= proposal.saving.hold.keeps
        self.entries = []
        try:
            self._let_go(proposal.left)
        except Stale:  # whoever claims them next looks again
            for row in proposal.left:
                queue.give_back(row, self.worker.owner, clock.now())
            self.entries = []
        return [take.key for take in proposal.takes]

    def _decide(self, state: State, event: given.Input, now: float) -> Decision:
        return decide(self.loaded.plan, state, event, now, urls=acting.urls_of(self.loaded.plan, state))

    # -- going on ------------------------------------------------------------------------------------------------
    def _start_more(self, state: State, now: float) -> list[Start]:
        if state.status in RUN_HELD or self.yields:
            return []
        held = [key for key in self.rows if state.step(*key).status == RUNNING]
        if held and not all(starting.is_pure(self.loaded, key[0]) for key in held):
            return []
        keys = starting.choose(
            self.loaded,
            state,
            now,
            entries=self.entries,
            avoid=self.avoid,
            worker=self.worker,
            room=self.room - len(held),
            shared=self.shared,
            lead=self.lead,
        )
        starts: list[Start] = []
        for key in keys if self.room > len(held) else ():
            start = starting.prepare(self.loaded, state, key, now, self.worker.owner, self._decide)
            if start is not None:
                starts.append(start)
                state = start.decision.state
        return starts

    # -- letting go ------------------------------------------------------------------------------------------------
    def share(self) -> None:
        """What was left to this worker alone, and is ready still, is everybody's."""
        kept, self.kept, state, now = self.kept, set(), self.loaded.state, clock.now()
        left = {s.id for s in state.steps.values() if s.status == READY and s.id in kept} if kept else ()
        if left and not state.ended and state.paused is None:
            for step in sorted(left):
                queue_name, priority, *_ = queue_rows.traits(self.loaded.plan, step, self.loaded.priority)
                queue.share(state.run_id, step, ranks.rank_of(self.loaded.flow_id, queue_name, priority, now), now)
            bell.ring(bell.WORK)

    def _let_go(self, rows: Sequence[Claim]) -> None:
        """Nothing to do for rows claimed: gone if their step has no use for them, held back with a paused run.

        Under the run's lock: were it resumed between looking and holding back, nobody would ever release the row.
        """
        if rows:
            with transaction.atomic():
                store.lock(self.loaded)
                for row in rows:
                    self._put_back(row, self.loaded.state)
        self.entries = []

    def _put_back(self, held: Claim, state: State) -> None:
        step = state.step(held.step, held.item)
        if held.kind == Work.Kind.STEP and step.status in CLAIMABLE and not state.ended:
            if state.paused is not None:
                queue.hold(held, self.worker.owner, step.wake_at or clock.now())
            else:
                queue.give_back(held, self.worker.owner, step.wake_at or clock.now())
        elif held.kind == Work.Kind.STEP and step.status == RUNNING:
            pass  # a lease that ran out while its holder came back: whoever holds the attempt goes on
        elif state.paused is not None and (held.kind == Work.Kind.TIMER or step.status == WAITING):
            queue.hold(held, self.worker.owner, clock.now())
        else:
            queue.drop(held, self.worker.owner)

    # -- a lost connection ---------------------------------------------------------------------------------------
    def _reconnect(self, error: Exception) -> Loaded | None:
        """The result is still in hand: try to reach the database for as long as the lease may last."""
        logger.warning("run %s: the database is gone, trying again: %s", self.loaded.state.run_id, error)
        end = time.monotonic() + settings.LEASE_SECONDS
        pause = 0.05
        while True:
            connection.close()
            try:
                return store.load(self.loaded.state.run_id)
            except (OperationalError, InterfaceError):
                if time.monotonic() + pause > end:
                    raise
                time.sleep(pause)
                pause = min(1.0, pause * 2)

    def _adopt(self, fresh: Loaded) -> list[Key] | None:
        """Did the commit whose answer was lost happen after all? Then the steps it started are ours to run."""
        tried = self.tried
        if tried is None or fresh.state.version != tried.version + 1:
            return None
        rows = {(row.step, row.item): row for row in queue.held_by(self.worker.owner, fresh.state.run_id)}
        for key, attempt in tried.attempts.items():
            step = fresh.state.step(*key)
            if step.status != RUNNING or step.attempt != attempt or key not in rows:
                return None
        if not tried.attempts:
            return None
        self.loaded, self.entries = fresh, []
        self.rows = {key: row for key, row in rows.items() if key in tried.attempts or key in self.rows}
        return list(tried.attempts)


def _is_of_use(row: Claim, state: State) -> bool:
    """Does the row's step still wait for a worker?"""
    return row.kind == Work.Kind.STEP and state.step(row.step, row.item).status in CLAIMABLE


def _with_log(decision: Decision, event: given.Input | None, lines: Sequence[str]) -> Decision:
    """The attempt's log lines go into the history just before its end."""
    if not lines or not isinstance(event, given.AttemptEnded):
        return decision
    log = Event("step.log", event.step, event.item, data={"attempt": event.attempt, "lines": list(lines)})
    return replace(decision, events=(log, *decision.events))
