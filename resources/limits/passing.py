"""A use of a limited connection that stands in no line: a message. It goes through at once, or not at all.

It takes a token of the rate, an open breaker turns it away, and nothing goes while all places are taken; how it ends is
told to the breaker. While it is under way it takes no place itself: it has no attempt that could give one back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from django.db import transaction

from resources.connections import ConnectionRef
from resources.limits import gate, ledger
from resources.limits.book import Outcome, outcome_of, report
from resources.models import ConnectionLimit
from resources.not_sent import NotSent


class Held(NotSent):
    """The limits did not let it through; it was not tried."""


@contextmanager
def through(ref: ConnectionRef, now: float) -> Iterator[None]:
    """The body uses the connection from `now` (epoch seconds) on. Raises Held, of class rate_limited, where it may
    not now, and the body's own."""
    if ref.settings.limits is None and not ConnectionLimit.objects.filter(connection_id=ref.id).exists():
        yield
        return
    probe, start = _enter(ref, now), monotonic()
    try:
        yield
    except NotSent as error:
        _leave(ref, now, outcome_of(error.cls), probe, monotonic() - start)
        raise
    _leave(ref, now, "ok", probe, monotonic() - start)


def _enter(ref: ConnectionRef, now: float) -> bool:
    """Is it a probe of the breaker? Raises NotSent."""
    why, probe = "", False
    with transaction.atomic():
        for book in ledger.lock([ref.id], now):
            book.book, verdict = gate.admit(book.limits, book.book, book.usage, now)
            why = verdict.why if isinstance(verdict, gate.Held) or verdict.due > now else ""
            if not isinstance(verdict, gate.Held):
                probe = verdict.probe
                if why:
                    book.book = gate.give_back(book.limits, book.book)
            book.save()
    if why:
        raise Held(
            "rate_limited", f"{ref.name}: held by the connection's limits ({why}). Nothing was sent.", again=True
        )
    return probe


def _leave(ref: ConnectionRef, began: float, outcome: Outcome, probe: bool, seconds: float) -> None:
    now = began + seconds
    with transaction.atomic():
        for book in ledger.lock([ref.id], now):
            book.book = report(book.limits, book.book, outcome, now, probe=probe, seconds=seconds)
            book.save()
