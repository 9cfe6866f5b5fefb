"""Statements of one transaction sent together.

On PostgreSQL they travel in one round trip (libpq's pipeline mode) and are prepared once per connection; on SQLite,
which has no round trips, each is executed at once. What a statement must have done is checked at the batch's end.

The driver is asked directly: Django's cursors look at each statement's text anew, which takes longer than SQLite needs
to carry it out. Only where queries are recorded (DEBUG, tests that count them) do they go through Django.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Protocol, Self

from django.db import connection

from runs import wide

Row = Sequence[Any]
#: looks at a statement's row count and first row (None where it returns none); raises what is wrong
Check = Callable[[int, Row | None], None]
#: takes all rows that were returned; raises what is wrong
Note = Callable[[Sequence[Row]], None]


class Writer(Protocol):
    """Where the statements of a save go: a Batch, or what collects those of several saves."""

    def run(self, sql: str, params: Sequence[Any], check: Check | None = None) -> None: ...

    def many(self, sql: str, rows: Sequence[Sequence[Any]], check: Check | None = None) -> None: ...

    def each(self, sql: str, rows: Sequence[Sequence[Any]], note: Note) -> None: ...

    def flush(self) -> None: ...


class Batch:
    """Use as a context manager inside a transaction; everything is checked at its end."""

    def __enter__(self) -> Self:
        self._cursor: Any = None
        self._pending: list[Callable[[], None]] = []
        self._manager: Any = None
        self._pipeline: Any = None
        if connection.vendor == "postgresql":
            connection.ensure_connection()
            self._manager = connection.connection.pipeline()
            self._pipeline = self._manager.__enter__()
        elif connection.queries_logged:
            self._cursor = connection.cursor()
        else:
            self._cursor = _Direct()
        return self

    def run(self, sql: str, params: Sequence[Any], check: Check | None = None) -> None:
        """One statement."""
        if self._pipeline is None:
            self._cursor.execute(sql, params)
            if check is not None:
                check(self._cursor.rowcount, self._cursor.fetchone() if self._cursor.description else None)
            return
        cursor = self._send(sql, params)
        if check is not None:
            self._pending.append(lambda: check(cursor.rowcount, cursor.fetchone() if cursor.description else None))

    def ask(self, sql: str, params: Sequence[Any], note: Note) -> None:
        """One statement; `note` gets all rows it returns."""
        if self._pipeline is None:
            note(self._cursor.execute(sql, params).fetchall())
            return
        cursor = self._send(sql, params)
        self._pending.append(lambda: note(cursor.fetchall()))

    def many(self, sql: str, rows: Sequence[Sequence[Any]], check: Check | None = None) -> None:
        """The same statement for each of `rows`; none where there are no rows.

        `check` sees a count of 1 where each of them found its row, else 0; but of a statement that is not in
        runs/wide.py, PostgreSQL counts each by itself.
        """
        if self._pipeline is None and rows:
            self._cursor.executemany(sql, rows)
            if check is not None:
                check(int(self._cursor.rowcount == len(rows)), None)
        elif len(rows) > 1 and (found := wide.whole(sql, rows)) is not None:
            cursor, count = self._send(*found), len(rows)
            if check is not None:
                self._pending.append(lambda: check(int(cursor.rowcount == count), None))
        else:
            for row in rows:
                self.run(sql, row, check)

    def each(self, sql: str, rows: Sequence[Sequence[Any]], note: Note) -> None:
        """As `many`, of a statement that returns rows: `note` gets them all, in any order."""
        if self._pipeline is None:
            note([found for row in rows for found in self._cursor.execute(sql, row).fetchall()])
        elif rows:
            found = wide.whole(sql, rows) if len(rows) > 1 else None
            cursors = [self._send(*found)] if found is not None else [self._send(sql, row) for row in rows]
            self._pending.append(lambda: note([row for cursor in cursors for row in cursor.fetchall()]))

    def flush(self) -> None:
        """Wait for everything sent so far, and check it."""
        if self._pipeline is None:
            return
        with connection.wrap_database_errors:
            self._pipeline.sync()
        self._check()

    def _check(self) -> None:
        pending, self._pending = self._pending, []
        for look in pending:
            look()

    @staticmethod
    def _send(sql: str, params: Sequence[Any]) -> Any:
        """Results of earlier statements may arrive here already, and with them what was wrong with those."""
        cursor = _cursor()
        with connection.wrap_database_errors:
            return cursor.execute(sql, params, prepare=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipeline is None:
            self._cursor.close()
            return
        if error is not None:
            import psycopg

            with contextlib.suppress(psycopg.Error):  # of a pipeline that is broken already, and rolled back as a whole
                self._manager.__exit__(None, None, None)
            return
        with connection.wrap_database_errors:
            self._manager.__exit__(None, None, None)
        self._check()


class _Direct:
    """SQLite's own cursor, which wants its parameters marked in its own way."""

    def __init__(self) -> None:
        connection.ensure_connection()
        self._own: sqlite3.Cursor = connection.connection.cursor(sqlite3.Cursor)
        self._errors = connection.wrap_database_errors
        self.close = self._own.close

    def execute(self, sql: str, params: Sequence[Any]) -> sqlite3.Cursor:
        with self._errors:
            return self._own.execute(_marked(sql), params)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._errors:
            self._own.executemany(_marked(sql), rows)

    def fetchone(self) -> Row | None:
        with self._errors:
            found: Row | None = self._own.fetchone()
        return found

    @property
    def rowcount(self) -> int:
        return self._own.rowcount

    @property
    def description(self) -> object:
        return self._own.description


@lru_cache(maxsize=256)
def _marked(sql: str) -> str:
    """Django's marks, as SQLite has them."""
    return sql % (("?",) * sql.count("%s"))


def _cursor() -> Any:
    """A cursor with server-side parameters, which Django's own does not use; only these can be prepared."""
    import psycopg

    return psycopg.Cursor(connection.connection)
