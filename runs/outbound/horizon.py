"""How far the history may be read without jumping over an entry that is still being written.

SQLite gives ids inside its one writing transaction: id order is commit order. PostgreSQL gives an id before the commit,
so a smaller id may appear after a larger one. There:

1. Look at the largest id that is visible, M. Whoever holds an id up to M got it before this look.
2. Then ask who holds the lock that every INSERT takes on the table before it asks for an id, and keeps to its end.
   Whoever holds an id up to M and is not among them has ended.
3. When the last of them has ended, every id up to M is there for whoever reads from now on, or never will be.

Unlike the oldest running transaction, this waits for writers of the history only: neither a long report nor another
database holds deliveries up. And it keeps nothing: a restored database, whose transactions count from the start
again, is read on where the cursors are.
"""

from __future__ import annotations

from typing import Final

from django.db import connection

_LAST: Final = "SELECT coalesce(max(id), 0) FROM runs_runevent"
_WRITERS: Final = (
    "SELECT virtualtransaction FROM pg_locks WHERE relation = 'runs_runevent'::regclass AND mode = 'RowExclusiveLock' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Horizon:
    """One a process; `look()` outside any transaction, since each of its questions needs a snapshot of its own."""

    def __init__(self) -> None:
        self.safe = 0
        self._top = 0  # looked at, not safe yet
        self._writers: frozenset[str] = frozenset()

    def look(self) -> int:
        """All entries up to this id are committed or never will be. Raises RuntimeError within a transaction."""
        if connection.in_atomic_block:
            raise RuntimeError("the horizon is looked at outside transactions")
        if connection.vendor != "postgresql":
            self.safe = self._top = last_id()
            return self.safe
        if self._top > self.safe:
            self._writers &= _writers()
            if not self._writers:
                self.safe = self._top
        if self._top <= self.safe:
            self._look_again()
        return self.safe

    @property
    def waiting(self) -> bool:
        """Somebody is still writing: look again soon."""
        return self._top > self.safe

    def _look_again(self) -> None:
        self._top = max(last_id(), self.safe)
        if self._top > self.safe:
            self._writers = _writers()  # after the look at the ids, never before
            if not self._writers:
                self.safe = self._top


def last_id() -> int:
    """The largest id that is visible."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST)
        return int(cursor.fetchone()[0])


def _writers() -> frozenset[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS)
        return frozenset(row[0] for row in cursor.fetchall())
