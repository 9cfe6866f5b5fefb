"""Reading new events: one source per database. Each owns its connection, lives in the event loop, never blocks long."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from django.db import connections

from runs.feed.gaps import GapCursor
from runs.feed.notices import Event

if TYPE_CHECKING:
    import psycopg

BATCH: Final = 500
LOOK_BACK: Final = 1_000  # ids below the newest that may still be uncommitted when following starts
#: of Django's parameters those that say where the server is and whether it is trusted
_OF_LIBPQ: Final = (
    "dbname", "user", "password", "passfile", "host", "hostaddr", "port", "service", "connect_timeout",
    "target_session_attrs", "channel_binding", "require_auth", "sslmode", "sslrootcert", "sslcert", "sslkey",
    "sslpassword", "sslcertmode", "sslcrl", "sslcrldir", "ssl_min_protocol_version", "sslnegotiation",
)  # fmt: skip
Grants = tuple[int, ...]  # changes whenever somebody is given or loses a role or a group

_SELECT = """
SELECT e.id, e.run_id, e.seq, e.type, e.step, e.item, e.at, f.slug, f.folder
FROM runs_runevent e JOIN runs_run r ON r.id = e.run_id JOIN flows_flow f ON f.id = r.flow_id
"""
_GRANTS = """
SELECT (SELECT count(*) FROM resources_grant), (SELECT coalesce(max(id), 0) FROM resources_grant),
       (SELECT count(*) FROM auth_user_groups), (SELECT coalesce(max(id), 0) FROM auth_user_groups)
"""
_LAST = "SELECT coalesce(max(id), 0) FROM runs_runevent"


class Source(Protocol):
    slow: ClassVar[float]  # seconds between looks when no bell rings

    async def open(self, woken: Callable[[], None]) -> None: ...
    async def start(self) -> GapCursor: ...
    async def changed(self) -> bool: ...
    async def read(self, cursor: GapCursor) -> tuple[list[Event], bool]: ...
    async def grants(self) -> Grants: ...
    async def close(self) -> None: ...


class SqliteSource:
    """Commits are serial and ids are given inside them: id order is commit order, nothing is ever jumped over."""

    slow: ClassVar[float] = 0.2

    def __init__(self) -> None:
        self._version: int | None = None

    async def open(self, woken: Callable[[], None]) -> None:
        name = connections["default"].settings_dict["NAME"]
        self._db = sqlite3.connect(f"file:{name}?mode=ro", uri=True, isolation_level=None, timeout=1.0)

    async def start(self) -> GapCursor:
        return GapCursor(self._db.execute(_LAST).fetchone()[0])

    async def changed(self) -> bool:
        """Did anybody commit since the last look? Costs some microseconds."""
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        moved = version != self._version
        self._version = version
        return moved

    async def read(self, cursor: GapCursor) -> tuple[list[Event], bool]:
        """(events not seen before, whether there may be more)."""
        rows = self._db.execute(f"{_SELECT} WHERE e.id > ? ORDER BY e.id LIMIT {BATCH}", [cursor.last]).fetchall()
        events = [Event(*row) for row in rows]
        if events:
            cursor.last = events[-1].id
        return events, len(rows) == BATCH

    async def grants(self) -> Grants:
        row: Grants = self._db.execute(_GRANTS).fetchone()
        return row

    async def close(self) -> None:
        self._db.close()


class PostgresSource:
    """Reads on one connection and listens on another. Missing ids are asked for again."""

    slow: ClassVar[float] = 0.1

    async def open(self, woken: Callable[[], None]) -> None:
        self._closing: list[psycopg.AsyncConnection[Any]] = []
        self._listening: asyncio.Task[None] | None = None
        self._bell = await self._connect()
        self._db = await self._connect()
        await self._bell.execute("LISTEN orchestra_events")
        self._listening = asyncio.create_task(self._listen(woken), name="feed-listen")

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        import psycopg

        known = connections["default"].get_connection_params()
        params = {key: known[key] for key in _OF_LIBPQ if known.get(key)}
        connection = await psycopg.AsyncConnection.connect(
            autocommit=True, application_name="orchestra feed", prepare_threshold=1, **params
        )
        self._closing.append(connection)
        return connection

    async def _listen(self, woken: Callable[[], None]) -> None:
        async for _ in self._bell.notifies():
            woken()

    async def start(self) -> GapCursor:
        cursor = GapCursor((await self._one(_LAST))[0])
        query = "SELECT id FROM runs_runevent WHERE id > %s"
        floor = max(0, cursor.last - LOOK_BACK)
        there = {row[0] for row in await (await self._db.execute(query, [floor])).fetchall()}
        cursor.expect((i for i in range(floor + 1, cursor.last + 1) if i not in there), time.monotonic())
        return cursor

    async def changed(self) -> bool:
        """Asking costs as much as reading. Raises what ended the listener, if something did."""
        if self._listening is not None and self._listening.done():
            self._listening.result()
        return True

    async def read(self, cursor: GapCursor) -> tuple[list[Event], bool]:
        query = f"{_SELECT} WHERE e.id > %s OR e.id = ANY(%s) ORDER BY e.id LIMIT {BATCH}"
        rows = await (await self._db.execute(query, [cursor.last, cursor.missing])).fetchall()
        return cursor.take([Event(*row) for row in rows], time.monotonic()), len(rows) == BATCH

    async def grants(self) -> Grants:
        return tuple(await self._one(_GRANTS))

    async def _one(self, query: str) -> Any:
        return await (await self._db.execute(query)).fetchone()

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        for connection in self._closing:
            await connection.close()


def errors() -> tuple[type[Exception], ...]:
    """What a source may raise when its database goes away."""
    if connections["default"].vendor != "postgresql":
        return (sqlite3.Error, OSError)
    import psycopg

    return (psycopg.Error, OSError)


def source_of_this_database() -> Source:
    return PostgresSource() if connections["default"].vendor == "postgresql" else SqliteSource()
