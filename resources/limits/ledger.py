"""The book of a connection and its permits in the database. Whoever changes them holds the book's row lock.

Lock order: runs first, then books by the connection's id; one process never takes a second book after a first save.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from django.db.models import Q

from resources.limits import gate
from resources.limits.book import CLOSED, Book, Outcome, report, tick
from resources.limits.config import NO_LIMITS, Limits
from resources.limits.gate import Grant, Held, Usage
from resources.models import Connection, ConnectionLimit, Permit

#: seconds a promise stands that nobody takes up (its worker died, its run was paused)
LAPSE: Final = 5.0

_COUNTED: Final = Q(taken_at__isnull=False) | Q(due__isnull=False)
_FIELDS: Final = {f.name: f.default for f in fields(Book)}


class Ledger:
    """One connection's limits, locked for the rest of the caller's transaction. Call `save` before it ends."""

    def __init__(self, row: ConnectionLimit, now: float) -> None:
        self.row, self.now = row, now
        self.id, self.name = row.connection_id, row.connection.name
        self.limits = limits_of(row.connection)
        self.before = book_of(row.book)
        self.book = tick(self.limits, self.before, now)
        counted = Permit.objects.filter(_COUNTED, connection_id=self.id)
        self.counted = {p.pk: p for p in counted}
        self._lapse()

    def _lapse(self) -> None:
        """Promises that nobody took up count no more; whoever had one keeps the place in the line."""
        for permit in list(self.counted.values()):
            if permit.taken_at is None and permit.due is not None and permit.due + LAPSE < self.now:
                self.unpromise(permit)

    @property
    def usage(self) -> Usage:
        taken = sum(p.taken_at is not None for p in self.counted.values())
        probes = sum(p.probe for p in self.counted.values())
        return Usage(taken, len(self.counted) - taken, probes)

    # -- asking ------------------------------------------------------------------------------------------------
    def look(self) -> Grant | Held:
        """What the next in line would be told."""
        return gate.admit(self.limits, self.book, self.usage, self.now)[1]

    def admit(self, permit: Permit, owner: str, attempt: int) -> Grant | Held:
        """Let an attempt begin, promise it a time, or put it into the line. Saves the permit."""
        if permit.due is not None:
            if gate.still_good(self.book, self.now, due=permit.due, probe=permit.probe):
                return self._take(permit, Grant(permit.due, permit.probe), owner, attempt)
            self.unpromise(permit)
        self.book, verdict = gate.admit(self.limits, self.book, self.usage, self.now)
        if isinstance(verdict, Held):
            permit.why = self._why(verdict.why)
            _put(permit)
            return verdict
        if verdict.due > self.now:
            self.promise(permit, verdict)
            return verdict
        return self._take(permit, verdict, owner, attempt)

    def _take(self, permit: Permit, grant: Grant, owner: str, attempt: int) -> Grant:
        permit.due, permit.probe, permit.why = None, grant.probe, ""
        permit.taken_at, permit.owner, permit.attempt = self.now, owner, attempt
        _put(permit)
        self.counted[permit.pk] = permit
        return grant

    def promise(self, permit: Permit, grant: Grant) -> None:
        permit.due, permit.probe = grant.due, grant.probe
        permit.why = self._why(grant.why) if grant.due > self.now else ""
        _put(permit)
        self.counted[permit.pk] = permit

    def unpromise(self, permit: Permit) -> None:
        permit.due, permit.probe = None, False
        permit.save(update_fields=["due", "probe"])
        self.counted.pop(permit.pk, None)
        self.book = gate.give_back(self.limits, self.book)

    def promise_next(self, permit: Permit) -> Grant | Held:
        """Give the next in line a time, where there is one to give."""
        self.book, verdict = gate.admit(self.limits, self.book, self.usage, self.now)
        if isinstance(verdict, Grant):
            self.promise(permit, verdict)
        return verdict

    def _why(self, why: str) -> str:
        return f"connection {self.name}: {why}"[:120]

    # -- ending ------------------------------------------------------------------------------------------------
    def end(self, permit: Permit, outcome: Outcome = "unknown", after: float | None = None) -> None:
        """The attempt is over, or is not going to be: its permit comes back."""
        permit = self.counted.pop(permit.pk, permit)
        if permit.taken_at is None and permit.due is not None:
            self.book = gate.give_back(self.limits, self.book)
        if permit.taken_at is not None:
            seconds = max(0.0, self.now - permit.taken_at)
            self.book = report(
                self.limits, self.book, outcome, self.now, probe=permit.probe, seconds=seconds, after=after
            )
        Permit.objects.filter(pk=permit.pk).delete()

    def save(self) -> None:
        """Write what changed. A connection without limits, and not opened by hand, keeps no row."""
        if self.limits == NO_LIMITS and self.book.breaker == CLOSED and not self._is_used():
            self.row.delete()
        elif self.book != self.before:
            self.row.book = book_json(self.book)
            self.row.save(update_fields=["book"])
            self.before = self.book

    def _is_used(self) -> bool:
        return bool(self.counted) or Permit.objects.filter(connection_id=self.id).exists()


def _put(permit: Permit) -> None:
    changing = ("due", "taken_at", "owner", "attempt", "probe", "falls", "why")
    permit.save(update_fields=changing if permit.pk else None)


def lock(connection_ids: Iterable[int], now: float, *, make: bool = True) -> list[Ledger]:
    """The ledgers of these connections, in the order of their ids. `make`: also of those that have no row yet."""
    wanted = sorted(set(connection_ids))
    rows = _locked(wanted)
    if make and len(rows) < len(wanted):
        missing = [ConnectionLimit(connection_id=pk) for pk in wanted if pk not in {r.connection_id for r in rows}]
        ConnectionLimit.objects.bulk_create(missing, ignore_conflicts=True)
        rows = _locked(wanted)
    return [Ledger(row, now) for row in rows]


def _locked(wanted: Sequence[int]) -> list[ConnectionLimit]:
    rows = ConnectionLimit.objects.select_for_update(of=("self",)).select_related("connection")
    return list(rows.filter(connection_id__in=wanted).order_by("connection_id"))


def limits_of(connection: Connection) -> Limits:
    """As set now; a connection without any has NO_LIMITS."""
    stored = connection.settings.get("limits")
    return Limits.model_validate(stored) if stored else NO_LIMITS


def book_of(stored: dict[str, Any]) -> Book:
    """The stored book; what it lacks is at its default."""
    known = {k: v for k, v in stored.items() if k in _FIELDS}
    if "window" in known:
        known["window"] = tuple((float(at), int(ok), int(bad)) for at, ok, bad in known["window"])
    return Book(**known)


def book_json(book: Book) -> dict[str, Any]:
    data = asdict(book) | {"window": [list(slot) for slot in book.window]}
    return {k: v for k, v in data.items() if v != _FIELDS[k] and not (k == "window" and not v)}
