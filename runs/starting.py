"""Which steps a worker goes on with, and the decision that starts one."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from django.conf import settings

from flows.definition.plan import Plan
from flows.resolve import ResolveError
from flows.steps.registry import family
from runs import acting, queue_rows
from runs.engine import inputs as given
from runs.engine.state import CLAIMABLE, READY, RUNNING, Key, State, Step
from runs.engine.turn import Decision
from runs.models import Work
from runs.queue import Claim
from runs.queue_rows import Take, is_long, queue_of
from runs.store import Loaded

if TYPE_CHECKING:
    from runs.worker import Worker

Decide = Callable[[State, given.Input, float], Decision]
#: (id, version) of connections that must be unchanged when the attempt starts
Versions = tuple[tuple[int, int], ...]
#: pure steps started together at most, and the same of those that take no time
MAX_BATCH: Final = 16
MAX_TINY: Final = 64


@dataclass(frozen=True, slots=True)
class Start:
    """A decision that goes on: the step taken with it, or None where it did not start after all."""

    decision: Decision
    take: Take | None
    connections: Versions = ()


def choose(
    loaded: Loaded,
    state: State,
    now: float,
    *,
    entries: Sequence[Claim],
    avoid: Collection[Key],
    worker: Worker,
    room: int,
    shared: bool,
    lead: bool,
) -> list[Key]:
    """Steps that may start now: those claimed, else one just opened, else any that nobody has claimed.

    More than one, up to `room` (beside those claimed), only of pure steps: their results share a commit.
    `shared`: the worker carries other runs, too, and executes quick, pure steps only; but of one, the `lead`, what was
    claimed even where it is slow, or nobody would ever get to it.
    """
    ready = [k for k, s in state.steps.items() if s.status == READY and (s.wake_at or 0.0) <= now]
    own = [
        (e.step, e.item) for e in entries if e.kind == Work.Kind.STEP and _may_start(state.step(e.step, e.item), now)
    ]
    if shared:
        ready = [k for k in ready if is_quick(loaded, k[0], worker)]
        own = [k for k in own if is_quick(loaded, k[0], worker) or (lead and is_pure(loaded, k[0]))]
    ready = [k for k in ready if serves(loaded.plan, k[0], worker)]
    if own:
        rest = [k for k in ready if k not in own and k not in avoid]
        more = [k for k in own[1:] if is_pure(loaded, k[0])] if is_pure(loaded, own[0][0]) else []
        return [own[0], *more, *_more(loaded, own[0], rest, worker, room - 1 - len(more))]
    fresh = [k for k in ready if loaded.state.step(*k).status not in CLAIMABLE]
    others = [k for k in ready if k not in avoid]
    if not fresh and not others:
        return []
    first = fresh[0] if fresh else random.choice(others)  # noqa: S311  spreads workers over a fan-out
    return [first, *_more(loaded, first, [k for k in others if k != first], worker, room - 1)]


def _may_start(step: Step, now: float) -> bool:
    return step.status in CLAIMABLE and (step.wake_at or 0.0) <= now


def _more(loaded: Loaded, first: Key, others: Sequence[Key], worker: Worker, room: int) -> list[Key]:
    """Of the other quick steps that are ready, a share, so that workers beside this one find some, too.

    Where steps are known to take no time, as many as go into one commit: to hand them round would cost more.
    """
    if room < 1 or not is_quick(loaded, first[0], worker):
        return []
    quick = [k for k in others if is_quick(loaded, k[0], worker)]
    share = min(room, len(quick) // max(1, settings.WORKERS))
    if worker.pace.is_quick(loaded, first[0]):
        most = MAX_TINY if worker.pace.is_tiny(loaded, first[0]) else MAX_BATCH
        share = min(most - 1, len(quick))
    return random.sample(quick, share) if share else []


def serves(plan: Plan, step: str, worker: Worker) -> bool:
    """May this worker go on with the step by itself? Its queue must be one of the worker's, and its length bearable."""
    return queue_of(plan, step) in worker.queues and not (worker.only_short and is_long(plan, step))


def is_quick(loaded: Loaded, step_id: str, worker: Worker) -> bool:
    """Pure, and not known to be slow."""
    return is_pure(loaded, step_id) and not worker.pace.is_slow(loaded, step_id)


def is_pure(loaded: Loaded, step_id: str) -> bool:
    return queue_rows.is_pure(loaded.plan, step_id)


def prepare(loaded: Loaded, state: State, key: Key, now: float, owner: str, decide: Decide) -> Start | None:
    """The decision that starts this step, or the one that asks again because its action changed."""
    step = state.step(*key)
    event: given.Input = given.AttemptStarted(step.id, step.item, owner)
    connections: Versions = ()
    if loaded.plan.step(step.id).protected_by and not step.fallback and step.doubt is None and step.load is None:
        event, connections = _checked_start(replace(loaded, state=state), step, owner)
    decision = decide(state, event, now)
    if not decision.accepted:
        return None
    if not isinstance(event, given.AttemptStarted) or decision.state.step(*key).status != RUNNING:
        return Start(decision, None)  # asked again instead, or what it requires does not hold
    fresh = loaded.state.step(*key).status not in CLAIMABLE
    return Start(decision, Take(key, now + settings.LEASE_SECONDS, fresh), connections)


def _checked_start(loaded: Loaded, step: Step, owner: str) -> tuple[given.Input, Versions]:
    """Start a protected step with the digest its action has now, or ask again where it is not the approved one."""
    digests: dict[str, str] = {}
    try:
        action = acting.resolve(loaded, step)
        digest = acting.digest_now(action)
    except ResolveError:
        action, digest = None, ""  # what cannot be resolved is not what was approved
    for approval in loaded.plan.step(step.id).protected_by:
        granted = (loaded.state.step(approval).granted or {}).get(f"{step.id}:{step.item}")
        if granted is None or granted["digest"] != digest:
            return given.ActionChanged(step.id, step.item, approval), ()
        digests[approval] = digest
    named = family(action.family).connections(action) if action is not None else []
    versions = tuple((int(one["id"]), int(one["version"])) for one in named)
    return given.AttemptStarted(step.id, step.item, owner, digests), versions
