"""May an attempt of a connection start now, later, or not yet known when? Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from resources.limits.book import CLOSED, HALF_OPEN, Book, most
from resources.limits.config import Limits

#: seconds ahead for which tokens are handed out; whoever is further behind has no time yet
HORIZON: Final = 1.0
#: seconds two processes' idea of the database's clock may differ
_SKEW: Final = 0.02


@dataclass(frozen=True, slots=True)
class Usage:
    """`busy`: attempts under way; `promised`: let through and not begun; `probes`: of both, the breaker's probes."""

    busy: int = 0
    promised: int = 0
    probes: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """May start at `due` (epoch seconds), which may be past. `why`: what it waits for until then."""

    due: float
    probe: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Not now, and nobody knows when. `circuit`: it is the breaker that says so."""

    why: str
    circuit: bool = False


def admit(limits: Limits, book: Book, usage: Usage, now: float) -> tuple[Book, Grant | Held]:
    """The next in line asks. `book` is as of `now` (book.tick); a grant takes its token and counts as promised."""
    due, probe, why = now, False, ""
    if book.breaker != CLOSED:
        room = limits.breaker.half_open - book.passed if limits.breaker is not None else 0
        ready = now if book.breaker == HALF_OPEN else book.probe_at
        if ready is None or usage.probes >= room:
            return book, Held(f"circuit {book.breaker.replace('_', '-')}", circuit=True)
        due, probe, why = ready, True, "circuit open" if ready > now else ""
    if book.shut_until > due:
        due, why = book.shut_until, "told to wait by the other side"
    limit = most(limits, book)
    if limit is not None and usage.busy + usage.promised >= limit:
        return book, Held(f"{limit} at a time")
    if limits.rate is not None:
        coming = now + max(0.0, 1.0 - book.tokens) * limits.rate.interval
        if coming > now + HORIZON and usage.promised:
            return book, Held(f"{limits.rate.count} a {limits.rate.per}")
        if coming > due:
            due, why = coming, f"{limits.rate.count} a {limits.rate.per}"
        book = replace(book, tokens=book.tokens - 1.0)
    return replace(book, admitted=book.admitted + 1), Grant(due, probe, why)


def still_good(book: Book, now: float, *, due: float, probe: bool) -> bool:
    """Does what was promised for `due` still hold now that it is to begin?"""
    on_time = due <= now + _SKEW
    return on_time and book.shut_until <= now and (book.breaker == CLOSED or (probe and book.breaker == HALF_OPEN))


def give_back(limits: Limits, book: Book) -> Book:
    """A promise was not used: its token is there for the next one."""
    if limits.rate is not None:
        book = replace(book, tokens=min(float(limits.rate.burst), book.tokens + 1.0))
    return replace(book, admitted=max(0, book.admitted - 1))


def turns_away(limits: Limits, book: Book, usage: Usage, *, has_fallback: bool) -> bool:
    """Is this attempt not even to wait, because the breaker is open and its rules say so?"""
    rules = limits.breaker
    if rules is None or book.breaker == CLOSED or rules.on_open == "queue":
        return False
    if rules.on_open == "fallback" and not has_fallback:
        return False
    return book.breaker != HALF_OPEN or usage.probes >= rules.half_open - book.passed
