"""Which steps a worker goes on with, and the decision that starts one."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from django.conf import settings

from flows.resolve import ResolveError
from flows.steps.registry import family
from runs import attempts
from runs.engine import inputs as given
from runs.engine.state import CLAIMABLE, READY, Key, State, Step
from runs.engine.turn import Decision
from runs.models import Work
from runs.queue import Claim
from runs.queue_rows import Take, is_long
from runs.store import Loaded

Decide = Callable[[State, given.Input, float], Decision]
#: (id, version) of connections that must be unchanged when the attempt starts
Versions = tuple[tuple[int, int], ...]
#: pure steps started together at most
MAX_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Start:
    """A decision that goes on: the step taken with it, or None where its approval is asked again instead."""

    decision: Decision
    take: Take | None
    connections: Versions = ()


def choose(
    loaded: Loaded, state: State, now: float, *, entry: Claim | None, avoid: Collection[Key], short: bool, room: int
) -> list[Key]:
    """Steps that may start now: the one claimed, else one just opened, else any that nobody has claimed.

    More than one, up to `room`, only of pure steps: their results share a commit. `short`: no long ones.
    """
    ready = [k for k, s in state.steps.items() if s.status == READY and (s.wake_at or 0.0) <= now]
    if entry is not None and entry.kind == Work.Kind.STEP:
        own = state.step(entry.step, entry.item)
        if own.status in CLAIMABLE and (own.wake_at or 0.0) <= now:
            return _with_more(loaded, own.key, [k for k in ready if k != own.key and k not in avoid], room)
    if short:
        ready = [k for k in ready if not is_long(loaded.plan, k[0])]
    fresh = [k for k in ready if loaded.state.step(*k).status not in CLAIMABLE]
    others = [k for k in ready if k not in avoid]
    if fresh:
        return _with_more(loaded, fresh[0], [k for k in others if k != fresh[0]], room)
    if not others:
        return []
    first = random.choice(others)  # noqa: S311  spreads workers over a fan-out
    return _with_more(loaded, first, [k for k in others if k != first], room)


def _with_more(loaded: Loaded, first: Key, others: Sequence[Key], room: int) -> list[Key]:
    """A share of the other pure steps that are ready, so that workers beside this one find some, too."""
    if room < 2 or not is_pure(loaded, first[0]):
        return [first]
    pure = [k for k in others if is_pure(loaded, k[0])]
    share = min(room - 1, len(pure) // max(1, settings.WORKERS))
    return [first, *random.sample(pure, share)]


def is_pure(loaded: Loaded, step_id: str) -> bool:
    plan = loaded.plan.step(step_id)
    return family(plan.family).pure and not plan.protected_by and plan.fallback is None


def prepare(loaded: Loaded, state: State, key: Key, now: float, owner: str, decide: Decide) -> Start | None:
    """The decision that starts this step, or the one that asks again because its action changed."""
    step = state.step(*key)
    event: given.Input = given.AttemptStarted(step.id, step.item, owner)
    connections: Versions = ()
    if loaded.plan.step(step.id).protected_by and not step.fallback:
        event, connections = _checked_start(replace(loaded, state=state), step, owner)
    decision = decide(state, event, now)
    if not decision.accepted:
        return None
    if not isinstance(event, given.AttemptStarted):
        return Start(decision, None)
    fresh = loaded.state.step(*key).status not in CLAIMABLE
    return Start(decision, Take(key, now + settings.LEASE_SECONDS, fresh), connections)


def _checked_start(loaded: Loaded, step: Step, owner: str) -> tuple[given.Input, Versions]:
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
