"""The hand-written SQL of a start: one row each for its key, the run, its first event and its first work.

On PostgreSQL a start that nothing stands in the way of is one statement, and needs no transaction around it.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connection

from flows.definition.plan import Plan
from runs import columns, ranks
from runs.models import Run

_KEY = """
INSERT INTO runs_startkey (flow_id, source, key, run_id, fingerprint, created_at) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (flow_id, source, key) DO NOTHING
"""
_RUN = """
INSERT INTO runs_run (id, flow_id, release_id, status, version, seq, input, trigger, starter_id, output, error, control,
                      limit_key, placed, priority, parent_id, parent_step, parent_item, depth, created_at, started_at,
                      ended_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, NULL, NULL, '{}', %s, %s, %s, %s, %s, %s, %s, %s, NULL, NULL)
"""
_CREATED = """
INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data)
VALUES (%s, 1, 'run.created', 1, %s, '', -1, %s, %s, %s)
"""
_WORK = """
INSERT INTO runs_work (kind, run_id, step, item, name, queue, priority, quick, long, rank, wake_at, fence)
VALUES ('step', %s, '', -1, '', %s, %s, %s, %s, %s, %s, 0)
"""


def take_key(run: Run, source: str, key: str, fingerprint: str) -> bool:
    """Reserve an idempotency key for this run; False where another run has it."""
    with connection.cursor() as cursor:
        cursor.execute(_KEY, [run.flow_id, source, key, run.pk, fingerprint, run.created_at])
        return bool(cursor.rowcount == 1)


def insert_run(run: Run, actor: str, data: dict[str, Any]) -> None:
    """The run and the first entry of its history."""
    with connection.cursor() as cursor:
        cursor.execute(
            _RUN,
            [
                run.pk, run.flow_id, run.release_id, str(run.status), run.version, run.seq,
                columns.INPUT.dump(run.input, run.pk), columns.TRIGGER.dump(run.trigger, run.pk),
                run.starter_id, run.limit_key, run.placed, run.priority,
                run.parent_id, run.parent_step, run.parent_item, run.depth, run.created_at,
            ],
        )  # fmt: skip
        cursor.execute(_CREATED, [run.pk, False, run.created_at, actor, columns.DATA.dump(data, run.pk, 1)])


def enqueue_start(run_id: str, at: float, plan: Plan, flow_id: int, priority: int) -> None:
    """The row a worker begins the run from. Beginning is quick, whatever the first step is."""
    place = ranks.rank_of(flow_id, plan.queue, priority, at)
    with connection.cursor() as cursor:
        cursor.execute(_WORK, [run_id, plan.queue, priority, True, False, place, at])


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
    if connection.vendor != "postgresql" or plan.max_queued is not None or plan.concurrency is not None:
        return False
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
    return found == (1,)
