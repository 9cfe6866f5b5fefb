"""The line before a limited connection: who is next, and the queue rows of those who wait (rule 10 of the design).

A row held by a limit has no `wake_at`, or the time its turn comes. What makes room (an attempt that ends, a worker that
dies, a breaker that closes, new settings) promises it to the oldest held, in the same transaction.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import QuerySet

from flows.definition.bindings import Place
from flows.models import Flow
from resources.limits import gate, ledger
from resources.limits.gate import Held
from resources.limits.ledger import Ledger
from resources.models import Connection, Permit
from runs import bell, bound, clock
from runs.engine.state import CLAIMABLE, RUNNING, Key, State

#: without a permit, neither promises nor orphans
WHEN: Final = "EXISTS (SELECT 1 FROM resources_permit)"
#: seconds a process goes by what it read of which connections have limits
REMEMBER: Final = 1.0
#: of those who wait, looked at together
_BATCH: Final = 50

_known: tuple[float, dict[str, int]] | None = None


def limited() -> dict[str, int]:
    """{name: id} of connections that hold anything back; read once a second by a process that asks."""
    global _known
    steady = time.monotonic()
    if _known is None or steady - _known[0] > REMEMBER:
        rows = Connection.objects.select_related("limit")
        _known = (steady, {row.name: row.pk for row in rows if row.settings.get("limits") or hasattr(row, "limit")})
    return _known[1]


def concern(names: Collection[str], place: Place) -> bool:
    """Is any connection limited that these names stand for there?"""
    return bool(names) and bool(limited()) and not limited().keys().isdisjoint(bound.ever(place, names))


def forget() -> None:
    """Ask again at once, of another database perhaps."""
    global _known
    _known = None
    bound.forget()


# -- the line --------------------------------------------------------------------------------------------------
_NEXT = """
SELECT p.id, w.id FROM resources_permit p
  JOIN runs_work w ON w.run_id = p.run_id AND w.step = p.step AND w.item = p.item AND w.kind = 'step' AND w.name = ''
 WHERE p.connection_id = %s AND p.taken_at IS NULL AND p.due IS NULL{more}
   AND w.owner IS NULL AND w.wake_at IS NULL AND w.held_at IS NULL
 ORDER BY p.since, p.id LIMIT %s{lock}
"""
_WAKE = "UPDATE runs_work SET wake_at = %s, held_by = %s WHERE id = %s"


def _waiting(book: Ledger, more: str = "", params: Sequence[Any] = ()) -> list[tuple[int, int]]:
    """(permit, queue row) of those who wait, oldest first.

    A row that somebody else changes right now is passed over: its run is being cancelled or paused, and waiting for
    that could be a deadlock.
    """
    lock = " FOR UPDATE OF w SKIP LOCKED" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT.format(more=more, lock=lock), [book.id, *params, _BATCH])
        return [(row[0], row[1]) for row in cursor.fetchall()]


def pump(book: Ledger, before: float | None = None) -> None:
    """Promise what is free to the oldest who wait; `before`: only to those who asked before that time."""
    more = " AND NOT p.falls" if _turn_away(book) else ""
    if before is not None:
        more += " AND p.since < %s"
    while not isinstance(book.look(), Held):
        rows = _waiting(book, more, [] if before is None else [before])
        permits = Permit.objects.in_bulk([permit for permit, _ in rows])
        woken = []
        for permit_id, work in rows:
            permit = permits[permit_id]
            if isinstance(book.promise_next(permit), Held):
                break
            due = permit.due if permit.due is not None else book.now
            # at once means: before all who became ready after it had asked
            woken.append([permit.since if due <= book.now else due, permit.why, work])
        _wake(woken)
        if len(woken) < _BATCH:
            return


def _turn_away(book: Ledger) -> bool:
    """An open breaker whose rule is not to wait: those who wait come and are told so. False: it has no such rule."""
    if not gate.turns_away(book.limits, book.book, book.usage, has_fallback=True):
        return False
    _wake([[book.now, "", work] for _, work in _waiting(book, " AND p.falls")])
    return True


def _wake(rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_WAKE, rows)
        bell.ring_on_commit(bell.WORK)


def hold(run_id: str, key: Key, due: float | None, why: str) -> None:
    """The step's row waits, for nobody to claim, until `due` or until it is woken."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_work SET wake_at = %s, rank = NULL, held_by = %s "
            "WHERE run_id = %s AND step = %s AND item = %s AND kind = 'step' AND owner IS NULL",
            [due, why, run_id, *key],
        )


def unhold(run_id: str, key: Key) -> None:
    """It has begun: nothing holds it any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_work SET held_by = '' WHERE run_id = %s AND step = %s AND item = %s AND held_by <> ''",
            [run_id, *key],
        )


# -- what gives permits back -----------------------------------------------------------------------------------
def end_all(permits: Iterable[Permit], now: float) -> None:
    """These attempts are over, or will not be. In the caller's transaction."""
    by_connection: dict[int, list[Permit]] = {}
    for permit in permits:
        by_connection.setdefault(permit.connection_id, []).append(permit)
    for book in ledger.lock(by_connection, now):
        for permit in by_connection[book.id]:
            book.end(permit)
        pump(book)
        book.save()


def end_owner(owner: str, run_id: str | None = None) -> None:
    """A worker is gone, its leases (of one run, or all) have ended: its permits come back at once."""
    mine = Permit.objects.filter(owner=owner)
    if run_id is not None:
        mine = mine.filter(run_id=run_id)
    if mine.exists():
        with transaction.atomic():
            # the books first, then what is in them: somebody may be giving one of them back
            books = ledger.lock(mine.values_list("connection_id", flat=True), clock.now())
            left = set(mine.values_list("pk", flat=True))
            for book in books:
                for permit in [p for p in book.counted.values() if p.pk in left]:
                    book.end(permit)
                pump(book)
                book.save()


def follow(before: State, after: State, names: Collection[str], place: Place, now: float) -> None:
    """After a decision that ended no attempt of ours: steps that were cancelled, skipped, or ended with their run.

    `names`: what its plan calls the connections it uses. In the transaction of the save.
    """
    if not concern(names, place):
        return
    mine = list(Permit.objects.filter(run_id=after.run_id))
    gone = [p for p in mine if _is_over(after, p)]
    if gone:
        end_all(gone, now)
    if after.paused is not None and before.paused is None:
        _step_aside([p for p in mine if p not in gone and p.due is not None], now)


def _is_over(state: State, permit: Permit) -> bool:
    step = state.step(permit.step, permit.item)
    if state.ended or permit.taken_at is not None:
        return state.ended or step.status != RUNNING or step.attempt != permit.attempt
    return step.status not in CLAIMABLE


def _step_aside(permits: Sequence[Permit], now: float) -> None:
    """Of a paused run: others go first; each keeps its place for when it goes on."""
    for book in ledger.lock({p.connection_id for p in permits}, now):
        for permit in [p for p in permits if p.pk in book.counted]:
            book.unpromise(book.counted[permit.pk])
        pump(book)
        book.save()


# -- when nothing ends and yet something changes -------------------------------------------------------------------
def on_limits_changed(sender: object, connection_id: int, *, gone: bool = False, **_: object) -> None:
    """The limits were changed, the breaker was switched, the connection is about to be deleted."""
    forget()
    books = ledger.lock([connection_id], clock.now(), make=False)
    for book in books:
        if gone:
            while rows := _waiting(book):
                _wake([[book.now, "", work] for _, work in rows])
            Permit.objects.filter(connection_id=book.id).delete()
            book.row.delete()
        else:
            pump(book)
            book.save()


def on_bindings_changed(sender: object, flow: str, connections: Collection[str], **_: object) -> None:
    """Who waits for a connection that the name stood for asks again: it may stand for another now.

    Those for whom it is the same one keep their place in the line.
    """
    bound.refresh_all()
    more, params = " AND p.run_id IN (SELECT r.id FROM runs_run r WHERE r.flow_id = %s)", []
    if flow:
        params = [Flow.objects.values_list("pk", flat=True).get(slug=flow)]
    ids = Connection.objects.filter(name__in=connections, permits__taken_at__isnull=True).values_list("pk", flat=True)
    for book in ledger.lock(ids.distinct(), clock.now(), make=False):
        while rows := _waiting(book, more if flow else "", params):
            _wake([[book.now, "", work] for _, work in rows])


_ORPHANS = """
SELECT p.id FROM resources_permit p
 WHERE p.since < %s AND (p.taken_at IS NULL OR p.taken_at < %s) AND NOT EXISTS (
       SELECT 1 FROM runs_work w WHERE w.run_id = p.run_id AND w.step = p.step AND w.item = p.item
          AND w.kind = 'step' AND (p.taken_at IS NULL OR p.owner = w.owner))
"""


def _orphans(now: float) -> set[int]:
    """Permits of attempts that nobody has: what a crash between two commits may leave."""
    with connection.cursor() as cursor:
        cursor.execute(_ORPHANS, [now - ledger.LAPSE, now - ledger.LAPSE])
        return {row[0] for row in cursor.fetchall()}


def tend(now: float) -> float | None:
    """The keeper's look, once a second where there are permits: promises that lapsed go to others, orphans come back.

    Nothing relies on it but what no event tells: a step that is not taken up, a crash between two commits.
    """
    waiting = Permit.objects.filter(taken_at__isnull=True)
    suspects = Permit.objects.filter(pk__in=_orphans(now))
    for pk in sorted({*_connections_of(waiting), *_connections_of(suspects)}):
        with transaction.atomic():
            for book in ledger.lock([pk], now):
                left = _orphans(now)  # again, now that nobody can change them
                for permit in Permit.objects.filter(connection_id=pk, pk__in=left):
                    book.end(permit)
                pump(book)
                book.save()
    return None


def _connections_of(permits: QuerySet[Permit]) -> set[int]:
    return set(permits.values_list("connection_id", flat=True).distinct())
