"""The queue's hand-written SQL: claim, renew, give back. Each is one statement in a transaction of its own.

A claim locks one row and waits for nothing, so it can be part of no deadlock; what it took is checked again under
the run's row lock when the attempt starts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from runs import bell, clock, permits
from runs.loading import RUN_COLUMNS
from runs.rank import DEBT_MAX, SECONDS_A_POINT, SHARE


@dataclass(frozen=True, slots=True)
class Claim:
    """A row this process holds: `fence` goes with every later change of it. `run`: the run's row, if it came along."""

    id: int
    kind: str
    run_id: str
    step: str
    item: int
    name: str
    fence: int
    run: Sequence[Any] | None = field(default=None, compare=False, repr=False)


_COLUMNS = "id, kind, run_id, step, item, name, fence"

# What may be claimed, from one queue: what is ready by its rank, what is due by its time. Each is one partial index.
_READY = "SELECT id, rank AS place, quick FROM runs_work WHERE queue = '{queue}' AND rank IS NOT NULL {only_short}"
_DUE = """SELECT id, wake_at AS place, quick FROM runs_work
           WHERE queue = '{queue}' AND rank IS NULL AND wake_at <= {now} {only_short}{takeovers}"""

# One statement, prepared. The claim need not survive a crash of the database (the row would simply be claimable again),
# so it does not wait for the disk; the attempt's start, which follows, does. It tells the time, whatever it finds.
_CLAIM_PG = """
WITH o AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
{parts}, u AS (SELECT id, quick, row_number() OVER (ORDER BY place, id) AS n FROM ({all}) AS a),
w AS (UPDATE runs_work AS w SET owner = %s, fence = fence + 1, rank = NULL, wake_at = {now} + %s
        FROM u, o WHERE w.id = u.id AND u.n <= {limit} AND (u.n = 1 OR (u.quick AND (SELECT quick FROM u WHERE n = 1)))
      RETURNING {columns})
SELECT extract(epoch FROM clock_timestamp())::float8, {tell}, w.*{run} FROM (SELECT 1) AS one LEFT JOIN w ON true {new}
"""
# Followers elsewhere look often for a while after a bell: rung with the claim, it needs no transaction after the save.
_TELL_PG = f"(SELECT {bell.NOTIFY[bell.EVENTS]} FROM w LIMIT 1)"  # noqa: S608  a constant
# A claim of one row brings its run along, if nothing was written to it since its start: that has no steps yet.
_NEW_PG = "LEFT JOIN (runs_run r JOIN flows_flow f ON f.id = r.flow_id) ON r.id = w.run_id AND r.version = 1"
_NOW_PG = "extract(epoch FROM now())::float8"
_CLAIM_SQLITE = """
UPDATE runs_work SET owner = '{owner}', fence = fence + 1, rank = NULL, wake_at = {now} + {lease}
 WHERE id IN ({ids}) RETURNING {columns}
"""


def claim(owner: str, queues: Sequence[str] | None = None, *, only_short: bool = False) -> Claim | None:
    """As `claim_some`, one row or None."""
    found = claim_some(owner, queues, only_short=only_short)
    return found[0] if found else None


def claim_some(
    owner: str, queues: Sequence[str] | None = None, *, only_short: bool = False, limit: int = 1
) -> list[Claim]:
    """Take the row that goes first, and with a quick one up to `limit` - 1 further quick ones that follow it.

    Ready rows go by rank, the others by the time they were due; the two compare. `owner` and `queues` (of this
    process where None) are our own identifiers, never input. `only_short`: leave long steps to other workers.
    """
    values = {
        "owner": owner,
        "lease": settings.LEASE_SECONDS,
        "limit": limit,
        "only_short": "AND NOT long " if only_short else "",
    }
    chosen = settings.QUEUES if queues is None else queues
    return _claim_pg(values, chosen) if connection.vendor == "postgresql" else _claim_sqlite(values, chosen)


def _parts(values: dict[str, Any], queues: Sequence[str], now: str) -> list[str]:
    """The selects of what may be claimed, each at most `limit` rows in its order."""
    tail = f"ORDER BY place, id LIMIT {values['limit']}"
    return [f"{part.format(queue=q, now=now, **values)} {tail}" for q in queues for part in (_READY, _DUE)]


def _claim_sqlite(values: dict[str, Any], queues: Sequence[str]) -> list[Claim]:
    now = repr(time.time())
    values = {**values, "takeovers": _takeovers()[0]}
    due = " UNION ALL ".join(f"SELECT * FROM ({part})" for part in _parts(values, queues, now))  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(due)  # a read first: no write lock where nothing is due
        if cursor.fetchone() is None:
            return []
        # like PostgreSQL's: in WAL mode NORMAL writes the claim without waiting for the disk
        cursor.execute("PRAGMA synchronous=NORMAL")
        try:
            with transaction.atomic():
                cursor.execute(due)
                found = sorted(cursor.fetchall(), key=itemgetter(1))[: values["limit"]]
                ids = [id_ for n, (id_, _, quick) in enumerate(found) if n == 0 or (quick and found[0][2])]
                marks = ", ".join(map(str, ids))
                cursor.execute(_CLAIM_SQLITE.format(now=now, ids=marks, columns=_COLUMNS, **values))
                rows = cursor.fetchall()
        finally:
            cursor.execute("PRAGMA synchronous=FULL")
    return [Claim(*row) for row in rows]


#: of the rows that are due, those that nobody held, or whose holder surely died
_NO_TAKEOVER = " AND (owner IS NULL OR owner = '')"
#: all, where the database's clock says what it should (a value)
_SANE = f" AND (owner IS NULL OR owner = '' OR abs(extract(epoch FROM clock_timestamp()) - %s) < {clock.MAX_DRIFT!r})"
_guard = clock.JumpGuard()


def _takeovers() -> tuple[str, list[float]]:
    """Which leases that look over may be believed, none for a while after the clock was set: SQL, values."""
    steady = time.monotonic()
    if connection.vendor != "postgresql":
        return ("" if _guard.trusts(time.time(), steady, settings.LEASE_SECONDS) else _NO_TAKEOVER), []
    expected = _guard.expected(steady)
    if steady < _guard.until:
        return _NO_TAKEOVER, []
    return ("", []) if expected is None else (_SANE, [expected])


def _claim_pg(values: dict[str, Any], queues: Sequence[str]) -> list[Claim]:
    takeovers, expected = _takeovers()
    tell = bell.is_due(bell.EVENTS)
    sql = _claim_sql(tuple(queues), values["limit"], values["only_short"], takeovers, tell=tell)
    params = [*expected * len(queues), values["owner"], float(values["lease"])]
    connection.ensure_connection()
    with connection.wrap_database_errors:
        import psycopg

        found = psycopg.Cursor(connection.connection).execute(sql, params, prepare=True).fetchall()
    clock.learn(found[0][0])
    _guard.trusts(found[0][0], time.monotonic(), settings.LEASE_SECONDS)
    if tell and found[0][2] is not None:
        bell.told(bell.EVENTS)
    return [Claim(*row[:7], *([row[7:]] if any(row[7:]) else ())) for _, _, *row in found if row[0] is not None]


@lru_cache(maxsize=64)
def _claim_sql(queues: tuple[str, ...], limit: int, only_short: str, takeovers: str, *, tell: bool) -> str:
    parts = _parts({"limit": limit, "only_short": only_short, "takeovers": takeovers}, queues, _NOW_PG)
    ctes = [f"p{n} AS ({part} FOR UPDATE SKIP LOCKED)" for n, part in enumerate(parts)]
    everything = " UNION ALL ".join(f"SELECT * FROM p{n}" for n in range(len(ctes)))  # noqa: S608
    columns = ", ".join(f"w.{name}" for name in _COLUMNS.split(", "))
    run, new = (f", {RUN_COLUMNS}", _NEW_PG) if limit == 1 else ("", "")
    more = {"tell": _TELL_PG if tell else "NULL", "run": run, "new": new}
    return _CLAIM_PG.format(parts=", ".join(ctes), all=everything, columns=columns, now=_NOW_PG, limit=limit, **more)


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
            f"UPDATE runs_work SET owner = NULL, wake_at = %s, rank = %s - {SECONDS_A_POINT} * priority "  # noqa: S608  ours
            "WHERE id = %s AND owner = %s AND fence = %s",
            [at, at if at <= clock.now() else None, held.id, owner, held.fence],
        )


def hold(held: Claim, owner: str, at: float) -> None:
    """The run is paused: the row waits, unclaimable, and is due at `at` or later once the run goes on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_work SET owner = NULL, wake_at = NULL, rank = NULL, held_at = %s "
            "WHERE id = %s AND owner = %s AND fence = %s AND step = %s AND item = %s",
            [at, held.id, owner, held.fence, held.step, held.item],
        )


def share(run_id: str, step: str, rank: float, now: float) -> None:
    """Rows of this step that a worker kept to itself are everybody's: ready, the first of them with this rank.

    One that waits for a later try is looked at too early then, and put back.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_work SET wake_at = %s, rank = %s + CASE WHEN item < %s THEN %s * item ELSE %s END "
            "WHERE run_id = %s AND step = %s AND kind = 'step' AND owner IS NULL AND rank IS NULL "
            "AND wake_at IS NOT NULL",
            [now, rank, int(DEBT_MAX / SHARE), SHARE, DEBT_MAX, run_id, step],
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


#: seconds a row that a dead worker held goes before its time: before any backlog
_FIRST = 1e9


def end_leases(owner: str, at: float, run_id: str | None = None) -> int:
    """A worker died: its rows (of one run, or all) are due at once and held by nobody, before all that waits in line.

    `owner` is empty then; NULL would mean never taken.
    """
    first = "CASE WHEN kind = 'step' THEN %s::float8 END"
    if connection.vendor != "postgresql":
        first = first.replace("::float8", "")
    sql = f"UPDATE runs_work SET wake_at = %s, rank = {first}, owner = '', fence = fence + 1 WHERE owner = %s"  # noqa: S608
    with connection.cursor() as cursor:
        if run_id is None:
            cursor.execute(sql, [at, at - _FIRST, owner])
        else:
            cursor.execute(sql + " AND run_id = %s", [at, at - _FIRST, owner, run_id])
        ended = int(cursor.rowcount)
    permits.end_owner(owner, run_id)
    return ended


def held_by(owner: str, run_id: str) -> list[Claim]:
    """The rows of steps of this run that `owner` holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, kind, run_id, step, item, name, fence FROM runs_work "
            "WHERE owner = %s AND run_id = %s AND kind = 'step'",
            [owner, run_id],
        )
        return [Claim(*row) for row in cursor.fetchall()]


# from one to the next through the index of leases: a DISTINCT may be planned as a walk over the whole queue
_OWNERS = """
WITH RECURSIVE one (owner) AS (
  SELECT min(owner) FROM runs_work WHERE owner > ''
   UNION ALL
  SELECT (SELECT min(w.owner) FROM runs_work AS w WHERE w.owner > one.owner) FROM one WHERE one.owner IS NOT NULL
) SELECT owner FROM one WHERE owner IS NOT NULL
"""


def owners() -> list[str]:
    """Everybody who holds a lease now."""
    with connection.cursor() as cursor:
        cursor.execute(_OWNERS)
        return [row[0] for row in cursor.fetchall()]


def look(limit: int, queues: Sequence[str] | None = None) -> list[float]:
    """The earliest `limit` times at which something is due, soonest first; 0 for what is ready.

    What is ready is due by its rank: the clock may have been set back since.
    """
    sql = _look_sql(tuple(settings.QUEUES if queues is None else queues), limit)
    if connection.vendor == "postgresql":
        connection.ensure_connection()
        with connection.wrap_database_errors:
            import psycopg

            found = psycopg.Cursor(connection.connection).execute(sql, prepare=True).fetchall()
    else:
        with connection.cursor() as cursor:
            found = cursor.execute(sql).fetchall()
    return sorted(at for (at,) in found)[:limit]


@lru_cache(maxsize=256)
def _look_sql(queues: tuple[str, ...], limit: int) -> str:
    parts = (f"{part.format(queue=queue)} LIMIT {limit}" for queue in queues for part in (_LOOK_READY, _LOOK_DUE))
    return " UNION ALL ".join(f"SELECT wake_at FROM ({part}) AS p{n}" for n, part in enumerate(parts))  # noqa: S608


_LOOK_READY = "SELECT 0e0 AS wake_at FROM runs_work WHERE queue = '{queue}' AND rank IS NOT NULL ORDER BY rank"
_LOOK_DUE = """
SELECT wake_at FROM runs_work WHERE queue = '{queue}' AND rank IS NULL AND wake_at IS NOT NULL ORDER BY wake_at"""
