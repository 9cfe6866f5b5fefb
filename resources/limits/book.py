"""What is remembered of one connection's limits, and how time and outcomes change it. Pure: time is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from resources.limits.config import Adaptive, BreakerRules, Limits, Rate

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"

#: ok: it answered as it should, or said that the request is wrong; failed: no answer, or a fault of its own;
#: throttled: it asked for fewer; unknown: nothing was learnt (a lost worker, a step that sent nothing)
Outcome = Literal["ok", "failed", "throttled", "unknown"]

#: error classes that say the other side is not well
FAILURES: Final = frozenset({"connect", "timeout", "network", "http_5xx"})
THROTTLES: Final = frozenset({"http_429", "rate_limited"})
#: of a step that sent nothing, or not because of the other side
NOTHING_LEARNT: Final = frozenset({"expression", "config", "refused", "internal", "limit", "lost", "circuit_open"})

_SLOTS: Final = 10  # parts of the breaker's window that are counted apart
_SHRINK_429: Final = 0.5
_SHRINK_SLOW: Final = 0.9
_SHRINK_PAUSE: Final = 1.0  # seconds: answers under way when it shrank say nothing new
_TAP: Final = 1.0  # seconds the tap stays closed after a 429 that does not say how long
_MAX_TAP: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Book:
    """Times are epoch seconds. `window`: (start of the slot, ended well, failed), oldest first."""

    tokens: float = 0.0  # below zero: handed out in advance
    refilled_at: float = 0.0
    breaker: str = CLOSED
    opened_at: float | None = None
    probe_at: float | None = None  # when an open breaker lets probes through; None: only a person closes it
    passed: int = 0  # probes that succeeded since it is half-open
    window: tuple[tuple[float, int, int], ...] = ()
    adapted: float | None = None  # concurrency as adapted; None: not yet
    shrunk_at: float = 0.0
    shut_until: float = 0.0  # the other side asked for silence
    latency: float | None = None  # seconds an attempt takes, smoothed
    by: str = ""  # who opened the breaker by hand
    reason: str = ""
    opened: int = 0  # times the breaker opened
    admitted: int = 0
    throttled: int = 0


def outcome_of(cls: str) -> Outcome:
    """What an error class says of the other side; "": there was no error."""
    if cls in FAILURES:
        return "failed"
    if cls in THROTTLES:
        return "throttled"
    return "unknown" if cls in NOTHING_LEARNT else "ok"


def tick(limits: Limits, book: Book, now: float) -> Book:
    """What the passing of time alone does: tokens come, an open breaker becomes half-open."""
    if limits.rate is not None:
        book = _refill(limits.rate, book, now)
    if book.breaker == OPEN and book.probe_at is not None and now >= book.probe_at:
        book = replace(book, breaker=HALF_OPEN, passed=0)
    if book.breaker != CLOSED and limits.breaker is None and not book.by:
        book = close(book)  # its rules were taken away
    return book


def _refill(rate: Rate, book: Book, now: float) -> Book:
    if book.refilled_at == 0.0:
        return replace(book, tokens=float(rate.burst), refilled_at=now)
    passed = max(0.0, now - book.refilled_at)  # a clock that was set back gives no tokens, and takes none
    return replace(book, tokens=min(float(rate.burst), book.tokens + passed / rate.interval), refilled_at=now)


def most(limits: Limits, book: Book) -> int | None:
    """How many at a time now; None: any number."""
    if limits.concurrency is None or limits.adaptive is None or book.adapted is None:
        return limits.concurrency
    return max(limits.adaptive.min, min(limits.concurrency, math.floor(book.adapted + 1e-9)))


def report(
    limits: Limits,
    book: Book,
    outcome: Outcome,
    now: float,
    *,
    probe: bool = False,
    seconds: float | None = None,
    after: float | None = None,
) -> Book:
    """An attempt ended. `seconds`: how long it took; `after`: seconds of silence it was asked for."""
    if outcome == "unknown":
        return book
    if seconds is not None:
        book = replace(book, latency=seconds if book.latency is None else 0.8 * book.latency + 0.2 * seconds)
    if limits.adaptive is not None and limits.concurrency is not None:
        book = _adapt(limits.adaptive, limits.concurrency, book, outcome, now, seconds)
        if outcome == "throttled":
            silence = min(_TAP if after is None else after, _MAX_TAP)
            book = replace(book, shut_until=max(book.shut_until, now + silence))
    if outcome == "throttled":
        return replace(book, throttled=book.throttled + 1)
    return _judge(limits.breaker, book, outcome == "failed", now, probe) if limits.breaker is not None else book


def _adapt(rules: Adaptive, most: int, book: Book, outcome: Outcome, now: float, seconds: float | None) -> Book:
    """Additive increase, multiplicative decrease; at most one decrease a second."""
    limit = float(most) if book.adapted is None else min(book.adapted, float(most))
    slow = rules.latency is not None and seconds is not None and seconds > rules.latency
    if outcome == "throttled" or slow:
        if abs(now - book.shrunk_at) < _SHRINK_PAUSE:
            return book
        factor = _SHRINK_429 if outcome == "throttled" else _SHRINK_SLOW
        return replace(book, adapted=max(float(rules.min), limit * factor), shrunk_at=now)
    return replace(book, adapted=min(float(most), limit + 1.0 / limit)) if outcome == "ok" else book


# -- the breaker -----------------------------------------------------------------------------------------------
def _judge(rules: BreakerRules, book: Book, failed: bool, now: float, probe: bool) -> Book:
    if book.breaker == HALF_OPEN and probe:
        if failed:
            return _open(rules, book, now)
        book = replace(book, passed=book.passed + 1)
        return close(book) if book.passed >= rules.half_open else book
    if book.breaker != CLOSED:
        return book  # began before it opened: nothing new
    book = replace(book, window=_count(rules, book.window, failed, now))
    ok, bad = totals(rules, book, now)
    if failed and bad >= rules.failures and bad >= rules.ratio * (ok + bad):
        return _open(rules, book, now)
    return book


def _count(
    rules: BreakerRules, window: tuple[tuple[float, int, int], ...], failed: bool, now: float
) -> tuple[tuple[float, int, int], ...]:
    kept = [slot for slot in window if slot[0] <= now < slot[0] + rules.window]
    if not kept or now >= kept[-1][0] + rules.window / _SLOTS:
        kept.append((now, 0, 0))
    start, ok, bad = kept[-1]
    kept[-1] = (start, ok + (not failed), bad + failed)
    return tuple(kept)


def totals(rules: BreakerRules, book: Book, now: float) -> tuple[int, int]:
    """(ended well, failed) within the window."""
    kept = [slot for slot in book.window if slot[0] <= now < slot[0] + rules.window]
    return sum(slot[1] for slot in kept), sum(slot[2] for slot in kept)


def _open(rules: BreakerRules, book: Book, now: float) -> Book:
    return replace(
        book, breaker=OPEN, opened_at=now, probe_at=now + rules.open_for, passed=0, window=(), opened=book.opened + 1
    )


def close(book: Book) -> Book:
    """Let everything through again, and forget what was counted."""
    return replace(
        book, breaker=CLOSED, opened_at=None, probe_at=None, passed=0, window=(), by="", reason="", shut_until=0.0
    )


def open_by_hand(book: Book, now: float, by: str, reason: str) -> Book:
    """Nothing goes through until a person closes it."""
    return replace(
        book,
        breaker=OPEN, opened_at=now, probe_at=None, passed=0, window=(), by=by, reason=reason, opened=book.opened + 1,
    )  # fmt: skip
