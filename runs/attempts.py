"""One attempt: resolve the action, run the family's `execute` outside any transaction, make its outcome storable."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from flows.definition import contracts
from flows.definition.plan import Fallback, StepPlan
from flows.resolve import ResolveError, load_kept, resolve_actions
from flows.steps import base
from flows.steps.registry import family
from resources import health
from resources.backends.errors import Unreachable
from resources.fields import dumps
from resources.masking import Masker
from runs import clock, lastgood, waits
from runs.acting import action_of, callback_url, effective, imagined, is_repeatable, scope_for, unfilled
from runs.engine import inputs as given
from runs.engine import timing
from runs.engine.backoff import may_help, next_try
from runs.engine.state import NO_ITEM, Key, Step, idempotency_key
from runs.large import storable
from runs.live import Live
from runs.loading import place_of
from runs.queue_rows import is_pure
from runs.search import in_steps
from runs.store import Loaded
from runs.streams import Streams
from runs.usage import RunMeter

Json = Any
logger = logging.getLogger(__name__)
MAX_LOG_LINES = 200
#: seconds that an attempt made ready may wait for its start: its time runs already
FRESH = 0.05
#: errors that say something of the connection, and not of the request
_ITS_FAULT = frozenset({"connect", "network", "timeout", "http_429", "http_5xx", "refused", "rate_limited"})


@lru_cache(maxsize=4096)
def _seed(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")


def _not_an_outcome(name: str, returned: object) -> base.StepError:
    return base.StepError("internal", f"The step family {name} returned a {type(returned).__name__}, not an outcome.")


def _stop_error(plan: StepPlan, why: str, said: base.StepError) -> base.StepError:
    """`why` a running attempt was asked to stop, as an error of the published classes."""
    details = {"said": {"class": said.cls, "message": said.message}}
    if why == "stalled":
        message = f"{plan.id} reported no progress for {plan.stall_after or 0:g} s and was stopped."
        return base.StepError("stalled", message, details)
    if why in (timing.DEADLINE, timing.SLA):
        return base.StepError(why, f"{plan.id} was stopped: its time was up.", details)
    return base.StepError("cancelled", f"{plan.id} was stopped before it was through.", details)


class Attempt:
    """One attempt at a step this worker holds."""

    def __init__(self, loaded: Loaded, step: Step) -> None:
        self.loaded, self.step = loaded, step
        self.plan = effective(loaded.plan, step)
        self.masker = Masker()
        self.lines: list[str] = []
        self.action: base.Action | None = None
        self.context: base.StepContext | None = None
        self.now = clock.now()
        #: seconds it may take: its timeout, or what is left of its step and its run
        self.seconds = timing.attempt_time(loaded.plan, loaded.state, step, self.plan.timeout, self.now)
        self.live = Live(
            loaded.state.run_id, step, seconds=self.seconds, stall_after=self.plan.stall_after, masker=self.masker
        )

    def run(self) -> given.AttemptEnded:
        """Execute and say how it ended. Whatever the family does, this returns."""
        if self.step.load is not None or (self.step.fallback and self._fallback.last_good):
            return self._read()
        try:
            outcome = family(self.plan.family).execute(self.context or self.resolve())
        except ResolveError as error:
            outcome = base.Fail(error.error)
        except base.Refused as error:  # a guard of the context itself
            outcome = base.Fail(base.StepError("limit", str(error)))
        except Unreachable as error:  # a secret's value is elsewhere and cannot be had now; nothing was sent without it
            outcome = base.Retry(base.StepError("connect", f"{error.message} {error.hint}".strip()), acted=False)
        except Exception:
            logger.exception("step %s of run %s broke", self.step.id, self.loaded.state.run_id)
            outcome = base.Retry(base.StepError("internal", f"The step family {self.plan.family} broke; see the log."))
        ended = self._ended(self._stopped(outcome))
        self._note_use(ended)
        return ended

    def resolve(self) -> base.StepContext:
        """What it will do, and with what. Raises ResolveError, and what a guard of the context does."""
        self.action = action_of(self.loaded, self.step)
        self.context = self._context(self.action)
        return self.context

    def get_ready(self) -> None:
        """Once resolved. Raises what the family's does."""
        if self.context is not None:
            family(self.plan.family).get_ready(self.context)

    def _note_use(self, ended: given.AttemptEnded) -> None:
        """How the connection fared, for its page. Outside any transaction, about once a minute."""
        if self.action is None or self.action.connection is None:
            return
        error = ended.error or {}
        failure = str(error.get("message", "")) if error.get("class") in _ITS_FAULT else ""
        health.note_use(int(self.action.connection["id"]), clock.now(), failure)

    def _stopped(self, outcome: base.Outcome) -> base.Outcome:
        """What was asked to stop and did not get through broke for that reason, whatever it says itself."""
        why = self.live.stop.why
        if not why or not isinstance(outcome, base.Retry):
            return outcome
        return replace(outcome, error=_stop_error(self.plan, why, outcome.error), after=None)

    @property
    def _fallback(self) -> Fallback:
        return self.plan.fallback or Fallback()

    def _read(self) -> given.AttemptEnded:
        """Nothing is sent: the items of a fan-out, or the last good output, come from what is stored here."""
        step = self.step
        ended = given.AttemptEnded(step.id, step.item, step.attempt, "done", acted=False)
        try:
            if step.load is not None:
                return replace(ended, outcome="items", output=load_kept(step.load, self.loaded.state.run_id))
            found = lastgood.find(self.loaded, step)
        except ResolveError as error:
            return replace(ended, outcome="fail", error=self._error(error.error))
        except DatabaseError as error:
            rand = random.random()  # noqa: S311  jitter
            broken = base.StepError("internal", f"The database did not answer: {error}")
            return replace(ended, outcome="retry", error=self._error(broken), rand=rand)
        if found is None:
            own = step.error or {}
            message = f"{own.get('message', 'It failed.')} There is no good output of an earlier run."
            return replace(ended, outcome="fail", error={**own, "message": message})
        return replace(ended, output=found[0], stale=found[1])

    def _context(self, action: base.Action) -> base.StepContext:
        state, step = self.loaded.state, self.step
        key = idempotency_key(state.run_id, step)
        streams = Streams(state.run_id, step.id, self.loaded.folder, self.masker)
        return base.StepContext(
            run_id=state.run_id,
            flow=self.loaded.flow,
            step=step.id,
            item=None if step.item == NO_ITEM else step.item,
            pass_no=step.pass_no,
            attempt=step.attempt,
            key=key,
            action=action,
            timeout=self.seconds,
            now=self.now,
            seed=_seed(key),
            log=self._log,
            mask=self.masker.add,
            masked=self.masker.tree,
            resolve=self._resolve_all,
            callback_url=self._callback_url,
            irreversible=lambda name: self.loaded.plan.step(name).irreversible,
            previous_digest=step.previous_digest or None,
            cancelled=self.live.stop,
            previous_checkpoint=step.checkpoint,
            progress=self.live.progress,
            checkpoint=self.live.checkpoint,
            tail=self.live.tail,
            meter=RunMeter(state.run_id, step, self.loaded.plan.budget),
            again=self._again,
            store=streams.store,
            fetch=streams.fetch,
            search=partial(in_steps.search, self.loaded.flow, self.loaded.folder),
            test=place_of(self.loaded).test,
        )

    def _again(self, error_class: str) -> bool:
        """By the longest delay there may be, so that what is promised here happens."""
        policy, first = self.plan.retry, self.step.first_at
        if not may_help(policy, error_class):
            return False
        first_at = self.now if first is None else first
        return next_try(policy, tries=self.step.tries, first_at=first_at, now=clock.now(), rand=1.0) is not None

    def _callback_url(self, name: str) -> str:
        """Of another step, or of this very one: an item of a fan-out has an address of its own."""
        state, item = self.loaded.state, self.step.item if name == self.step.id else NO_ITEM
        return callback_url(waits.token_of(self.loaded.plan, state.run_id, name, item, state.step(name, item).pass_no))

    def _log(self, line: str) -> None:
        if len(self.lines) < MAX_LOG_LINES:
            self.lines.append(self.masker.text(line)[:2000])
            self.live.line(self.lines[-1])

    def _resolve_all(self, step_id: str) -> list[base.Action]:
        """What a protected step would do if this approval were given with its form as it is shown first."""
        shown = imagined(self.loaded, self.step.id, unfilled(self.plan.config.get("form") or {}))
        return resolve_actions(self.loaded.plan, step_id, scope_for(shown), item="all", place=place_of(self.loaded))

    # -- the outcome ---------------------------------------------------------------------------------------
    def _ended(self, outcome: object) -> given.AttemptEnded:
        ended = given.AttemptEnded(
            self.step.id, self.step.item, self.step.attempt, "done", repeatable=is_repeatable(self.plan, self.action)
        )
        match outcome:
            case base.Done(output):
                return self._done(ended, output)
            case base.Retry(error, after, acted):
                rand = random.random()  # noqa: S311  jitter
                return replace(
                    ended, outcome="retry", error=self._error(error), after=after, acted=acted, rand=rand,
                    checkpoint=self.live.kept.get("checkpoint"),
                )  # fmt: skip
            case base.Fail(error):
                return replace(ended, outcome="fail", error=self._error(error))
            case base.Wait(kind, timeout, until, spec):
                wait = {"kind": kind, "timeout": timeout, "until": until, "spec": self.masker.tree(dict(spec))}
                return replace(ended, outcome="wait", wait=wait)
        # a bug of the family: it fails loudly
        return replace(ended, outcome="fail", error=self._error(_not_an_outcome(self.plan.family, outcome)))

    def _done(self, ended: given.AttemptEnded, output: Json) -> given.AttemptEnded:
        try:
            whole = self.masker.tree(output)
            output, size = storable(whole, self.loaded.state.run_id, self.step.id, self.loaded.folder)
        except (ValueError, TypeError, RecursionError) as error:
            failed = base.StepError("limit", f"The output is not JSON that can be kept: {error}")
            return replace(ended, outcome="fail", error=self._error(failed))
        if size > settings.MAX_OUTPUT_BYTES:
            failed = base.StepError("limit", f"The output has {size} bytes; {settings.MAX_OUTPUT_BYTES} are allowed.")
            return replace(ended, outcome="fail", error=self._error(failed))
        return self._promised(ended, whole, output)

    def _promised(self, ended: given.AttemptEnded, whole: Json, kept: Json) -> given.AttemptEnded:
        """The core looks at what the step promised, except where it would see a reference only."""
        plan, asks = self.loaded.plan.step(self.step.id), self.step.doubt is not None
        promises = plan.output_schema is not None or bool(plan.ensures)
        remembers = plan.fallback is not None and plan.fallback.last_good
        breach = None
        if not asks and promises and (remembers or kept is not whole):
            breach = contracts.broken_output(plan, scope_for(self.loaded, self.step), whole)
        if remembers and not asks and breach is None:
            lastgood.keep(self.loaded, self.step, kept)
        checked = promises and kept is not whole
        rand = random.random() if asks or promises else 0.0  # noqa: S311  jitter
        return replace(ended, output=kept, checked=checked, breach=breach if checked else None, rand=rand)

    def _error(self, error: base.StepError) -> dict[str, Json]:
        found = {"class": error.cls, "message": self.masker.text(error.message)[:2000]}
        if error.details is not None:
            found["details"] = self.masker.tree(error.details)
        return found


class Ahead:
    """The attempt at a pure step, made ready while the save that starts it is on its way."""

    def __init__(self) -> None:
        self._made: Attempt | None = None

    def look(self, key: Key, loaded: Loaded) -> None:
        """`loaded`: the run as that save will leave it. Asks no database, and raises nothing."""
        self._made, step = None, loaded.state.step(*key)
        if step.load is None and is_pure(loaded.plan, step.id):
            with contextlib.suppress(Exception):  # the attempt will come to it, and say so
                made = Attempt(loaded, step)
                made.resolve()
                self._made = made
                made.get_ready()

    def take(self, loaded: Loaded, key: Key) -> Attempt:
        """The attempt at this step, ready if it was made so for this very state, and just now."""
        made, self._made = self._made, None
        if made is None or made.loaded is not loaded or made.step.key != key or clock.now() - made.now > FRESH:
            return Attempt(loaded, loaded.state.step(*key))
        return made


def check_size(output: Json) -> None:
    """Raises ValueError, TypeError or RecursionError for what is no JSON that a step's output may be."""
    size = len(dumps(output).encode())
    if size > settings.MAX_INLINE_OUTPUT_BYTES:
        raise ValueError(f"it has {size} bytes; {settings.MAX_INLINE_OUTPUT_BYTES} are allowed")
