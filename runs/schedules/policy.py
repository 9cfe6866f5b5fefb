"""What becomes of a due time. Pure: no clock, no database; every process decides the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from flows.definition.cron import due_times, parse_cron, zone_of

#: times of one schedule that may wait for their turn
MAX_WAITING: Final = 1000
#: runs of a backfill that go at a time where runs of the schedule may overlap; else it is one
MAX_BACKFILLING: Final = 5
#: missed times that are counted one by one
MAX_COUNTED: Final = 1000

STOPPING: Final = frozenset({"cancel_other", "terminate_other"})


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule is due. `identity` tells schedules apart; seconds."""

    identity: str
    cron: str
    timezone: str
    catchup: float
    jitter: float

    def after(self, at: float) -> Iterator[float]:
        """Due times later than `at`. Raises CronError."""
        return due_times(parse_cron(self.cron), zone_of(self.timezone), at)

    def next(self, at: float) -> float | None:
        """The first due time later than `at`. Raises CronError."""
        return next(self.after(at), None)

    def wake(self, due: float) -> float:
        """When a due time starts: its own share of the jitter later, the same in every process."""
        if not self.jitter:
            return due
        drawn = hashlib.sha256(f"{self.identity}@{due:.0f}".encode()).digest()[:8]
        return due + self.jitter * int.from_bytes(drawn, "big") / 2**64


@dataclass(frozen=True, slots=True)
class Missed:
    """Due times that are over. `more`: there were more than were counted."""

    first: float
    last: float
    count: int
    more: bool = False

    def sentence(self) -> str:
        times = f"{'more than ' if self.more else ''}{self.count} due time{'s' if self.count > 1 else ''}"
        return f"{times} passed while nothing ran, longer ago than the catch-up window."


@dataclass(frozen=True, slots=True)
class Due:
    """`fire`: the due time to act on now, if any; `next`: the one after it."""

    missed: Missed | None
    fire: float | None
    next: float | None


def look(timing: Timing, due: float, now: float) -> Due:
    """What is due at `now` for a schedule whose next time is `due`. Raises CronError."""
    missed: Missed | None = None
    oldest = now - timing.catchup - timing.jitter
    at: float | None = due
    times = timing.after(due)
    while at is not None and timing.wake(at) <= now:
        if now - timing.wake(at) <= timing.catchup:
            return Due(missed, at, next(times, None))
        before = missed or Missed(at, at, 0)
        missed = Missed(before.first, at, before.count + 1, before.more)
        if missed.count == MAX_COUNTED and at < oldest:  # years of minutes: on to the window
            missed = Missed(missed.first, at, missed.count, more=True)
            times = timing.after(oldest - 61.0)
        at = next(times, None)
    return Due(missed, None, at)


@dataclass(frozen=True, slots=True)
class Busy:
    """What a schedule has going: unended runs of due times, of backfills, and times that wait for their turn."""

    running: int = 0
    backfilling: int = 0
    waiting: int = 0  # backfills not counted: they come last


@dataclass(frozen=True, slots=True)
class Verdict:
    """do: start, wait or skip. `replaces`: what waited until now is skipped."""

    do: Literal["start", "wait", "skip"]
    why: str = ""
    replaces: bool = False


def decide(overlap: str, busy: Busy) -> Verdict:
    """What a due time does. A backfill never makes one be skipped: the due time goes before the rest of it."""
    if overlap == "allow_all" or busy == Busy():
        return Verdict("start")
    if overlap in STOPPING:
        return Verdict("wait", replaces=True)
    if overlap == "skip" and (busy.running or busy.waiting):
        return Verdict("skip", "An earlier run had not ended.")
    if overlap in ("skip", "buffer_one") and busy.waiting:
        return Verdict("skip", "An earlier run had not ended, and one time waited already.")
    if busy.waiting >= MAX_WAITING:
        return Verdict("skip", f"{MAX_WAITING} times waited already.")
    return Verdict("wait")


def may_start(overlap: str, cause: str, busy: Busy) -> bool:
    """Whether a time that waits may start now."""
    if overlap == "allow_all":
        return cause != "backfill" or busy.backfilling < MAX_BACKFILLING
    return not busy.running and not busy.backfilling
