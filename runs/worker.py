"""The shell around the core: claim, execute, decide, save, and go on inline while there is something to go on with.

One commit ends a step, opens what follows, and starts the next step of this worker. Work itself runs outside any
transaction. Losing a race is normal: the loser drops what it holds and leaves.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from flows.resolve import ResolveError
from runs import admission, attempts, broken, clock, queue, store, waits
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.engine.state import CLAIMABLE, READY, RUN_HELD, RUNNING, WAITING, Key, State, Step
from runs.engine.turn import Decision, Event
from runs.heart import Heart
from runs.models import Work
from runs.queue import Claim
from runs.queue_rows import Fenced, Hold, Take, Taken, is_long
from runs.store import Loaded, Stale

logger = logging.getLogger(__name__)

#: seconds a worker goes on inline while others wait for a worker
SLICE: Final = 0.1
#: decisions overtaken in a row before the row is given back for a moment: a cap, not a tuning knob
MAX_OVERTAKEN: Final = 200
#: seconds a lease outlives the attempt's own timeout, for the commit after it
GRACE: Final = 10.0

MakeInput = Callable[[Loaded], given.Input | None]


class Worker:
    def __init__(self, owner: str, heart: Heart | None = None) -> None:
        self.owner = owner
        self.heart = heart or Heart(owner)
        self.stopping = False
        self.only_short = False  # the one of its cluster that takes no long steps

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
        loaded = store.load(claim.run_id)
        if loaded is None or loaded.state.ended:
            queue.drop(claim, self.owner)
        else:
            Slice(self, loaded, claim).go()

    def recover(self) -> None:
        """After a lost database connection: whatever a lost answer left with this worker goes to whoever is free."""
        queue.end_leases(self.owner, clock.now())


class Slice:
    """One claimed row and all that this worker does on from it."""

    def __init__(self, worker: Worker, loaded: Loaded, claim: Claim) -> None:
        self.worker, self.loaded = worker, loaded
        self.held: Claim | None = claim
        self.began = time.monotonic()
        self.avoid: set[Key] = set()  # steps others were faster at
        self.tried: Tried | None = None

    def go(self) -> None:
        assert self.held is not None  # noqa: S101  for mypy
        step = self._commit(_meaning(self.held))
        while step is not None and self.held is not None:
            attempt = attempts.Attempt(self.loaded, step)
            with self.worker.heart.beat(self.held, until=clock.now() + attempt.plan.timeout + GRACE):
                ended = attempt.run()
            step = self._commit(_just(ended), attempt.lines)

    # -- deciding and saving -----------------------------------------------------------------------------------
    def _commit(self, make: MakeInput, lines: list[str] | None = None) -> Step | None:
        """Decide, choose how to go on, save. Gives the step that runs now, or None when this worker is done here."""
        for _ in range(MAX_OVERTAKEN):
            try:
                return self._try_commit(make, lines)
            except (Stale, Taken):
                fresh = store.load(self.loaded.state.run_id, self.loaded)
            except Fenced:
                logger.info("run %s: fenced off", self.loaded.state.run_id)
                return None
            except (OperationalError, InterfaceError) as error:
                fresh = self._reconnect(error)
                if fresh is not None and (step := self._adopt(fresh)) is not None:
                    return step
            if fresh is None:
                return None
            self.loaded = fresh
        self._give_up()
        return None

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

    def _adopt(self, fresh: Loaded) -> Step | None:
        """Did the commit whose answer was lost happen after all? Then the step it started is ours to run."""
        tried = self.tried
        if tried is None or self.held is None or fresh.state.version != tried.version + 1:
            return None
        step = fresh.state.step(*tried.key)
        row = queue.held_by(self.worker.owner, fresh.state.run_id, *tried.key)
        if step.status != RUNNING or step.attempt != tried.attempt or row is None:
            return None
        self.loaded, self.held = fresh, row
        return step

    def _try_commit(self, make: MakeInput, lines: list[str] | None) -> Step | None:
        now, loaded = clock.now(), self.loaded
        decisions: list[Decision] = []
        event = make(loaded)
        if event is not None:
            decision = self._decide(loaded.state, event, now)
            if not decision.accepted:
                self._let_go()
                return None
            decisions.append(_with_log(decision, event, lines) if lines else decision)
        state = decisions[-1].state if decisions else loaded.state
        start = self._start_next(state, now)
        if start is not None:
            decisions.append(start.decision)
        if not decisions:
            self._let_go()
            return None
        self._keep_large_outputs_apart(decisions)
        self._save(decisions, now, start)
        return None if start is None or start.take is None else self.loaded.state.step(*start.take.key)

    def _decide(self, state: State, event: given.Input, now: float) -> Decision:
        return decide(self.loaded.plan, state, event, now, urls=attempts.urls_of(self.loaded.plan, state))

    def _save(self, decisions: list[Decision], now: float, start: Start | None) -> None:
        hold = None
        if self.held is not None:
            hold = Hold(self.worker.owner, self.held, start.take if start else None)
        connections = start.connections if start else ()
        saving = store.Save(decisions, now, hold, connections)
        self.tried = None
        if start is not None and start.take is not None:
            attempt = decisions[-1].state.step(*start.take.key).attempt
            self.tried = Tried(self.loaded.state.version, start.take.key, attempt)
        try:
            self.loaded, self.held = store.save(self.loaded, saving)
        except Taken:
            if start is not None and start.take is not None:
                self.avoid.add(start.take.key)
            raise

    # -- going on ------------------------------------------------------------------------------------------------
    def _start_next(self, state: State, now: float) -> Start | None:
        if state.status in RUN_HELD or self.held is None or self._should_yield():
            key = None
        else:
            key = self._choose(state, now)
        if key is None:
            return None
        return self._prepare(state, key, now)

    def _should_yield(self) -> bool:
        if self.worker.stopping:
            return True
        if time.monotonic() - self.began < SLICE:
            return False
        due = queue.look(1)
        return bool(due) and due[0] <= clock.now()

    def _choose(self, state: State, now: float) -> Key | None:
        """A step that may start now: the one held, else one just opened, else any nobody has claimed."""
        held = self.held
        if held is not None and held.kind == Work.Kind.STEP:
            own = state.step(held.step, held.item)
            if own.status in CLAIMABLE and (own.wake_at or 0.0) <= now:
                return own.key
        before = self.loaded.state
        ready = [k for k, s in state.steps.items() if s.status == READY and (s.wake_at or 0.0) <= now]
        if self.worker.only_short:
            ready = [k for k in ready if not is_long(self.loaded.plan, k[0])]
        fresh = [k for k in ready if before.step(*k).status not in CLAIMABLE]
        if fresh:
            return fresh[0]
        others = [k for k in ready if k not in self.avoid]
        return random.choice(others) if others else None  # noqa: S311  spreads workers over a fan-out

    def _prepare(self, state: State, key: Key, now: float) -> Start | None:
        """The decision that starts this step, or the one that asks again because its action changed."""
        step = state.step(*key)
        loaded = replace(self.loaded, state=state)
        event: given.Input = given.AttemptStarted(step.id, step.item, self.worker.owner)
        connections: tuple[tuple[int, int], ...] = ()
        if loaded.plan.step(step.id).protected_by and not step.fallback:
            event, connections = _checked_start(loaded, step, self.worker.owner)
        decision = self._decide(state, event, now)
        if not decision.accepted:
            return None
        if not isinstance(event, given.AttemptStarted):
            return Start(decision, None)
        fresh = self.loaded.state.step(*key).status not in CLAIMABLE
        until = now + settings.LEASE_SECONDS
        return Start(decision, Take(key, until, fresh), connections)

    def _keep_large_outputs_apart(self, decisions: list[Decision]) -> None:
        """A join's output is put together by the core; like any other it becomes a resource when it is large."""
        last = decisions[-1]
        run_id, folder = last.state.run_id, self.loaded.folder
        for key in set().union(*(d.changed for d in decisions)):
            step = last.state.steps[key]
            if isinstance(step.output, list) and key in self.loaded.state.steps and step.settled:
                output, _ = attempts.storable(step.output, run_id, step.id, folder)
                if output is not step.output:
                    state = last.state.with_step(replace(step, output=output))
                    last = replace(last, state=state)
        decisions[-1] = last

    # -- letting go ------------------------------------------------------------------------------------------------
    def _let_go(self) -> None:
        """Nothing to do for the row held: gone if its step has no use for it, held back with a paused run.

        Under the run's lock: were it resumed between looking and holding back, nobody would ever release the row.
        """
        if self.held is None:
            return
        with transaction.atomic():
            store.lock(self.loaded)
            self._put_back(self.held, self.loaded.state)
        self.held = None

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

    def _give_up(self) -> None:
        logger.warning("run %s: overtaken %s times in a row", self.loaded.state.run_id, MAX_OVERTAKEN)
        if self.held is not None:
            queue.give_back(self.held, self.worker.owner, clock.now() + random.random())  # noqa: S311


def _just(event: given.Input) -> MakeInput:
    return lambda _: event


def _with_log(decision: Decision, event: given.Input, lines: list[str]) -> Decision:
    """The attempt's log lines go into the history just before its end."""
    assert isinstance(event, given.AttemptEnded)  # noqa: S101  only attempts write lines
    log = Event("step.log", event.step, event.item, data={"attempt": event.attempt, "lines": lines})
    return replace(decision, events=(log, *decision.events))


@dataclass(frozen=True, slots=True)
class Tried:
    """A commit under way: on the run's version, the attempt it starts."""

    version: int
    key: Key
    attempt: int


class Start:
    """How a slice goes on: a decision, and the step taken with it (None where it is asked again instead)."""

    __slots__ = ("connections", "decision", "take")

    def __init__(self, decision: Decision, take: Take | None, connections: tuple[tuple[int, int], ...] = ()) -> None:
        self.decision, self.take, self.connections = decision, take, connections


def _checked_start(loaded: Loaded, step: Step, owner: str) -> tuple[given.Input, tuple[tuple[int, int], ...]]:
    """Start a protected step with the digest its action has now, or ask again where it is not the approved one."""
    digests: dict[str, str] = {}
    try:
        action = attempts.resolve(loaded, step)
        digest = attempts.digest_now(action)
    except ResolveError:
        action, digest = None, ""  # what cannot be resolved is not what was approved
    for approval in loaded.plan.step(step.id).protected_by:
        granted = (loaded.state.step(approval).granted or {}).get(f"{step.id}:{step.item}")
        if granted is None or granted["digest"] != digest:
            return given.ActionChanged(step.id, step.item, approval), ()
        digests[approval] = digest
    connection = action.connection if action is not None else None
    versions = ((int(connection["id"]), int(connection["version"])),) if connection else ()
    return given.AttemptStarted(step.id, step.item, owner, digests), versions


def _meaning(held: Claim) -> MakeInput:
    """What the claimed row says about its run, given the run as it is. None: only that its step may start."""

    def make(loaded: Loaded) -> given.Input | None:
        state = loaded.state
        if held.step == "":
            return given.Started() if state.started_at is None else None
        step = state.step(held.step, held.item)
        if step.status == RUNNING and held.kind == Work.Kind.STEP:
            return _lost(loaded, step)
        if step.status != WAITING or state.paused is not None:
            return None
        answer = waits.answer_of(loaded, step.id, step.item, step.pass_no)
        if answer is not None:  # given before the timer fired: it stands
            return given.Answered(step.id, step.item, step.pass_no, answer["payload"])
        return given.TimeUp(step.id, step.item, step.pass_no) if held.kind == Work.Kind.TIMER else None

    return make


def _lost(loaded: Loaded, step: Step) -> given.AttemptLost:
    """Its lease is over and it never ended: nobody will answer for this attempt any more."""
    try:
        action = attempts.action_of(loaded, step)
    except ResolveError:
        action = None
    repeatable = attempts.is_repeatable(attempts.effective(loaded.plan, step), action)
    return given.AttemptLost(step.id, step.item, step.attempt, repeatable)
