"""The queue's hand-written SQL: claim, renew, give back. Each is one statement in a transaction of its own.

A claim locks one row and waits for nothing, so it can be part of no deadlock; what it took is checked again under
the run's row lock when the attempt starts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from runs import clock


@dataclass(frozen=True, slots=True)
class Claim:
    """A row this process holds: `fence` goes with every later change of it."""

    id: int
    kind: str
    run_id: str
    step: str
    item: int
    name: str
    fence: int


_COLUMNS = "id, kind, run_id, step, item, name, fence"

# One round trip. The claim need not survive a crash of the database (the row would simply be claimable again), so it
# does not wait for the disk; the attempt's start, which follows, does.
_CLAIM_PG = """
BEGIN; SET LOCAL synchronous_commit TO OFF;
UPDATE runs_work SET owner = '{owner}', fence = fence + 1,
       wake_at = extract(epoch FROM clock_timestamp()) + {lease}
 WHERE id = (SELECT id FROM runs_work WHERE queue IN ({queues}) AND wake_at <= extract(epoch FROM clock_timestamp())
              {only_short}{takeovers} ORDER BY wake_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {columns};
SELECT extract(epoch FROM clock_timestamp())::float8; COMMIT
"""
_DUE_SQLITE = "SELECT 1 FROM runs_work WHERE queue IN ({queues}) AND wake_at <= {now!r} {only_short}{takeovers} LIMIT 1"
_CLAIM_SQLITE = """
UPDATE runs_work SET owner = '{owner}', fence = fence + 1, wake_at = {now!r} + {lease}
 WHERE id = (SELECT id FROM runs_work WHERE queue IN ({queues}) AND wake_at <= {now!r} {only_short}{takeovers}
              ORDER BY wake_at LIMIT 1)
RETURNING {columns}
"""


def claim(owner: str, queues: Sequence[str] = ("default",), *, only_short: bool = False) -> Claim | None:
    """Take the row that has waited longest, or None. `owner` and `queues` are our own identifiers, never input.

    `only_short`: leave long steps to other workers.
    """
    values = {
        "owner": owner,
        "queues": ", ".join(f"'{q}'" for q in queues),
        "lease": settings.LEASE_SECONDS,
        "columns": _COLUMNS,
        "only_short": "AND NOT long" if only_short else "",
        "takeovers": _takeovers(),
    }
    if connection.vendor == "postgresql":
        return _claim_pg(_CLAIM_PG.format(**values))
    now = time.time()
    with connection.cursor() as cursor:
        cursor.execute(_DUE_SQLITE.format(now=now, **values))  # a read first: no write lock where nothing is due
        if cursor.fetchone() is None:
            return None
        # like PostgreSQL's: in WAL mode NORMAL writes the claim without waiting for the disk
        cursor.execute("PRAGMA synchronous=NORMAL")
        try:
            with transaction.atomic():
                cursor.execute(_CLAIM_SQLITE.format(now=now, **values))
                row = cursor.fetchone()
        finally:
            cursor.execute("PRAGMA synchronous=FULL")
    return Claim(*row) if row else None


#: of the rows that are due, those that nobody held, or whose holder surely died
_NO_TAKEOVER = " AND (owner IS NULL OR owner = '')"
_guard = clock.JumpGuard()


def _takeovers() -> str:
    """Which leases that look over may be believed: none for a while after the clock was set."""
    steady = time.monotonic()
    if connection.vendor != "postgresql":
        return "" if _guard.trusts(time.time(), steady, settings.LEASE_SECONDS) else _NO_TAKEOVER
    expected = _guard.expected(steady)
    if steady < _guard.until:
        return _NO_TAKEOVER
    if expected is None:
        return ""
    sane = f"abs(extract(epoch FROM clock_timestamp()) - {expected!r}) < {clock.MAX_DRIFT!r}"
    return f" AND (owner IS NULL OR owner = '' OR {sane})"


def _claim_pg(sql: str) -> Claim | None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found: list[Any] = []
        more: bool | None = True
        while more:
            if cursor.description is not None:
                found.append(cursor.fetchone())
            more = cursor.nextset()
    row, (now,) = found
    clock.learn(now)
    _guard.trusts(now, time.monotonic(), settings.LEASE_SECONDS)
    return Claim(*row) if row else None


def renew(held: Claim, owner: str, until: float) -> bool:
    """Move the lease's end. False when the row is no longer ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_work SET wake_at = %s WHERE id = %s AND owner = %s AND fence = %s",
            [until, held.id, owner, held.fence],
        )
        return bool(cursor.rowcount)


def give_back(held: Claim, owner: str, at: float) -> None:
    """Undo a claim that led to nothing: claimable again at `at`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_work SET owner = NULL, wake_at = %s WHERE id = %s AND owner = %s AND fence = %s",
            [at, held.id, owner, held.fence],
        )


def hold(held: Claim, owner: str, at: float) -> None:
    """The run is paused: the row waits, unclaimable, and is due at `at` or later once the run goes on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_work SET owner = NULL, wake_at = NULL, held_at = %s "
            "WHERE id = %s AND owner = %s AND fence = %s AND step = %s AND item = %s",
            [at, held.id, owner, held.fence, held.step, held.item],
        )


def drop(held: Claim, owner: str) -> None:
    """The row has no use any more (its step or timer is settled).

    Not where a commit whose answer was lost has moved it on to the next step: then that one's lease is all there is.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM runs_work WHERE id = %s AND owner = %s AND fence = %s AND step = %s AND item = %s",
            [held.id, owner, held.fence, held.step, held.item],
        )


def end_leases(owner: str, at: float) -> int:
    """A worker died: its rows are due at once and held by nobody (`owner` empty; NULL would mean never taken)."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_work SET wake_at = %s, owner = '', fence = fence + 1 WHERE owner = %s", [at, owner])
        return int(cursor.rowcount)


def held_by(owner: str, run_id: str) -> list[Claim]:
    """The rows of steps of this run that `owner` holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, kind, run_id, step, item, name, fence FROM runs_work "
            "WHERE owner = %s AND run_id = %s AND kind = 'step'",
            [owner, run_id],
        )
        return [Claim(*row) for row in cursor.fetchall()]


def owners() -> list[str]:
    """Everybody who holds a lease now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT owner FROM runs_work WHERE owner IS NOT NULL")
        return [row[0] for row in cursor.fetchall()]


def look(limit: int, queues: Sequence[str] = ("default",)) -> list[float]:
    """The earliest `limit` times at which something is due, soonest first."""
    names = ", ".join(f"'{q}'" for q in queues)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT wake_at FROM runs_work WHERE queue IN ({names}) AND wake_at IS NOT NULL ORDER BY wake_at LIMIT %s",  # noqa: S608  our own identifiers
            [limit],
        )
        return [row[0] for row in cursor.fetchall()]
