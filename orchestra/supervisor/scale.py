"""How many workers a host should have, from what waits for one. Pure: the clock and what was seen are arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: seconds something may be ready before more workers are worth their start
LATE = 2.0
#: seconds under which nothing is kept waiting
CALM = 0.5


@dataclass(frozen=True, slots=True)
class Signal:
    """What the queues look like. `age`: seconds the oldest ready row has waited; `running`: attempts under way."""

    age: float = 0.0
    ready: int = 0
    running: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """Between `low` and `high` workers, `step` at a time. After a change nothing is added for `up` seconds, and nothing
    is taken away before it was calm for `down` seconds."""

    low: int
    high: int
    step: int
    up: float = 5.0
    down: float = 60.0

    @property
    def moves(self) -> bool:
        return self.high > self.low


@dataclass(frozen=True, slots=True)
class Size:
    """`extra`: how many workers beyond `low`; `calm_since`: since when fewer would do, None where they would not."""

    extra: int = 0
    changed_at: float = float("-inf")
    calm_since: float | None = None


def resize(policy: Policy, size: Size, signal: Signal, now: float) -> Size:
    """One look; `now` in seconds of a steady clock."""
    if signal.age >= LATE and signal.ready > 0:
        size = replace(size, calm_since=None)
        room = policy.high - policy.low - size.extra
        if room > 0 and now - size.changed_at >= policy.up:
            return Size(size.extra + min(policy.step, room), now)
        return size
    fewer = policy.low + size.extra - _last_step(policy, size)
    if size.extra == 0 or signal.age >= CALM or signal.running > fewer:
        return replace(size, calm_since=None)
    since = now if size.calm_since is None else size.calm_since
    if now - since >= policy.down and now - size.changed_at >= policy.down:
        return Size(size.extra - _last_step(policy, size), now)
    return replace(size, calm_since=since)


def _last_step(policy: Policy, size: Size) -> int:
    """How many workers the youngest cluster has: the last one may be smaller than the others."""
    return size.extra % policy.step or min(policy.step, size.extra)


def clusters(policy: Policy, size: Size) -> list[int]:
    """The workers of each further cluster, in the order in which they are started."""
    whole, rest = divmod(size.extra, policy.step)
    return [policy.step] * whole + ([rest] if rest else [])


def wanted(workers: int, signal: Signal) -> int:
    """For an autoscaler outside, which has bounds and a cooldown of its own: how many workers would do now."""
    if signal.age >= LATE and signal.ready > 0:
        return max(workers + 1, min(2 * workers, signal.running + signal.ready))
    if signal.age >= CALM:
        return max(1, workers)
    return max(1, min(workers, signal.running + signal.ready))
