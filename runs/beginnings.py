"""The hand-written SQL of a start: one row each for its key, the run, its first event and its first work.

A start that nothing stands in the way of is one statement on PostgreSQL, and needs no transaction around it. On SQLite,
where every commit is a turn at the only place for writers, those that come together share one (runs/crowd.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from flows.definition.plan import Plan
from runs import bell, columns, ranks
from runs.crowd import Crowd
from runs.models import Run

_KEY: Final = "INSERT INTO runs_startkey (flow_id, source, key, run_id, fingerprint, created_at) VALUES "
_KEY_ROW: Final = "(%s, %s, %s, %s, %s, %s)"
_KEY_END: Final = " ON CONFLICT (flow_id, source, key) DO NOTHING RETURNING run_id"
_RUN: Final = """
INSERT INTO runs_run (id, flow_id, release_id, status, version, seq, input, trigger, starter_id, output, error, control,
                      limit_key, placed, priority, parent_id, parent_step, parent_item, depth, created_at, started_at,
                      ended_at) VALUES """
_RUN_ROW: Final = """
(%s, %s, %s, %s, %s, %s, %s, %s, %s, NULL, NULL, '{}', %s, %s, %s, %s, %s, %s, %s, %s, NULL, NULL)"""
_CREATED: Final = "INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data) VALUES "
_CREATED_ROW: Final = "(%s, 1, 'run.created', 1, %s, '', -1, %s, %s, %s)"
_WORK: Final = """
INSERT INTO runs_work (kind, run_id, step, item, name, queue, priority, quick, long, rank, wake_at, fence) VALUES """
_WORK_ROW: Final = "('step', %s, '', -1, '', %s, %s, %s, %s, %s, %s, 0)"
Row = tuple[Any, ...]


def _insert(into: str, row: str, rows: Sequence[Row], end: str = "") -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(into + ", ".join([row] * len(rows)) + end, [value for each in rows for value in each])
        return cursor.fetchall() if end else []


def take_key(run: Run, source: str, key: str, fingerprint: str) -> bool:
    """Reserve an idempotency key for this run; False where another run has it."""
    return bool(_insert(_KEY, _KEY_ROW, [_key_row(run, source, key, fingerprint)], _KEY_END))


def insert_run(run: Run, actor: str, data: dict[str, Any]) -> None:
    """The run and the first entry of its history."""
    _insert(_RUN, _RUN_ROW, [_run_row(run)])
    _insert(_CREATED, _CREATED_ROW, [_created_row(run, actor, data)])


def enqueue_start(run_id: str, at: float, plan: Plan, flow_id: int, priority: int) -> None:
    """The row a worker begins the run from. Beginning is quick, whatever the first step is."""
    _insert(_WORK, _WORK_ROW, [_work_row(run_id, at, plan, flow_id, priority)])


def _key_row(run: Run, source: str, key: str, fingerprint: str) -> Row:
    return run.flow_id, source, key, run.pk, fingerprint, run.created_at


def _run_row(run: Run) -> Row:
    return (
        run.pk, run.flow_id, run.release_id, str(run.status), run.version, run.seq,
        columns.INPUT.dump(run.input, run.pk), columns.TRIGGER.dump(run.trigger, run.pk),
        run.starter_id, run.limit_key, run.placed, run.priority,
        run.parent_id, run.parent_step, run.parent_item, run.depth, run.created_at,
    )  # fmt: skip


def _created_row(run: Run, actor: str, data: dict[str, Any]) -> Row:
    return run.pk, False, run.created_at, actor, columns.DATA.dump(data, run.pk, 1)


def _work_row(run_id: str, at: float, plan: Plan, flow_id: int, priority: int) -> Row:
    return run_id, plan.queue, priority, True, False, ranks.rank_of(flow_id, plan.queue, priority, at), at


@dataclass(frozen=True, slots=True)
class _Start:
    """The rows of one start. `key`: None where it has none."""

    flow_id: int
    release_id: int
    run_id: str
    key: Row | None
    run: Row
    created: Row
    work: Row


def _write(starts: Sequence[_Start]) -> list[bool]:
    """Those that find their gate open and their key free, in the caller's transaction."""
    closed = _closed(starts)
    through = [one for one in starts if (one.flow_id, one.release_id) not in closed]
    keys = [one.key for one in through if one.key is not None]
    kept = {row[0] for row in _insert(_KEY, _KEY_ROW, keys, _KEY_END)} if keys else set()
    new = [one for one in through if one.key is None or one.run_id in kept]
    if new:
        _insert(_RUN, _RUN_ROW, [one.run for one in new])
        _insert(_CREATED, _CREATED_ROW, [one.created for one in new])
        _insert(_WORK, _WORK_ROW, [one.work for one in new])
        bell.ring_on_commit(bell.WORK, bell.EVENTS)
    written = {one.run_id for one in new}
    return [one.run_id in written for one in starts]


def _closed(starts: Sequence[_Start]) -> set[tuple[int, int]]:
    """(flow, release) that something may keep from beginning."""
    asked = list({one.flow_id for one in starts})
    with connection.cursor() as cursor:
        cursor.execute(_GATES + f"({', '.join(['%s'] * len(asked))})", asked)
        draining = dict(cursor.fetchall())
    return {
        (one.flow_id, one.release_id)
        for one in starts
        if one.flow_id in draining and draining[one.flow_id] <= one.release_id
    }


#: the lowest release that waits; 0: all do
_GATES: Final = """
SELECT flow_id, CASE WHEN mode <> '' OR quarantined > 0 THEN 0 ELSE draining END FROM runs_flowgate
 WHERE (mode <> '' OR draining IS NOT NULL OR quarantined > 0) AND flow_id IN """
_crowd: Final = Crowd(_write)

# $1 flow, $2 source, $3 key, $4 run, $5 fingerprint, $6 time, $7 release
_OPEN: Final = """
g AS (SELECT 1 FROM runs_flowgate
       WHERE flow_id = $1::bigint AND (mode <> '' OR draining <= $7::bigint OR quarantined > 0))
"""
_KEY_TAKEN: Final = """
WITH {open},
k AS (INSERT INTO runs_startkey (flow_id, source, key, run_id, fingerprint, created_at)
      SELECT $1::bigint, $2::text, $3::text, $4::text, $5::text, $6::float8 WHERE NOT EXISTS (SELECT 1 FROM g)
      ON CONFLICT (flow_id, source, key) DO NOTHING RETURNING 1)
"""
_NO_KEY: Final = """
WITH {open},
k AS (SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM g) AND ($2::text, $3::text, $5::text) IS NOT NULL)
"""
_AT_ONCE: Final = """,
r AS (INSERT INTO runs_run (id, flow_id, release_id, status, version, seq, input, trigger, starter_id, output, error,
                            control, limit_key, placed, priority, parent_id, parent_step, parent_item, depth,
                            created_at, started_at, ended_at)
      SELECT $4::text, $1::bigint, $7::bigint, 'queued', 1, 1, $8::text, $9::text, $10::int, NULL, NULL, '{{}}', '',
             true, $11::smallint, $12::text, $13::text, $14::int, $15::smallint, $6::float8, NULL, NULL FROM k
      RETURNING id),
e AS (INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data)
      SELECT id, 1, 'run.created', 1, false, '', -1, $6::float8, $16::text, $17::text FROM r RETURNING 1),
w AS (INSERT INTO runs_work (kind, run_id, step, item, name, queue, priority, quick, long, rank, wake_at, fence)
      SELECT 'step', id, '', -1, '', $18::text, $11::smallint, true, false, $19::float8, $6::float8, 0 FROM r
      RETURNING 1)
SELECT count(*) FROM r
"""
_WITH_KEY_SQL: Final = (_KEY_TAKEN + _AT_ONCE).format(open=_OPEN).encode()
_WITHOUT_KEY_SQL: Final = (_NO_KEY + _AT_ONCE).format(open=_OPEN).encode()


def at_once(run: Run, plan: Plan, actor: str, data: dict[str, Any], source: str, key: str | None, mark: str) -> bool:
    """The whole start. False, with nothing written, where a key is taken or a gate closed: then look closer."""
    if plan.max_queued is not None or plan.concurrency is not None:
        return False
    if connection.vendor == "postgresql":
        return _by_one_statement(run, plan, actor, data, source, key, mark)
    if connection.in_atomic_block:
        return False  # what the caller wrote belongs with it
    work = _work_row(run.pk, run.created_at, plan, run.flow_id, run.priority)
    keyed = None if key is None else _key_row(run, source, key, mark)
    rows = (_run_row(run), _created_row(run, actor, data), work)
    return _crowd.join(_Start(run.flow_id, run.release_id, run.pk, keyed, *rows))


def _by_one_statement(
    run: Run, plan: Plan, actor: str, data: dict[str, Any], source: str, key: str | None, mark: str
) -> bool:
    import psycopg

    place = ranks.rank_of(run.flow_id, plan.queue, run.priority, run.created_at)
    params = [
        run.flow_id, source, key or "", run.pk, mark, run.created_at, run.release_id,
        columns.INPUT.dump(run.input, run.pk), columns.TRIGGER.dump(run.trigger, run.pk), run.starter_id, run.priority,
        run.parent_id, run.parent_step, run.parent_item, run.depth, actor, columns.DATA.dump(data, run.pk, 1),
        plan.queue, place,
    ]  # fmt: skip
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.RawCursor(connection.connection) as cursor:
        sql = _WITHOUT_KEY_SQL if key is None else _WITH_KEY_SQL
        found = cursor.execute(sql, params, prepare=True).fetchone()
    if found == (1,):
        bell.ring_on_commit(bell.WORK, bell.EVENTS)
    return found == (1,)
