"""The hand-written SQL of a start: one row each for its key, the run, its first event and its first work."""

from __future__ import annotations

from typing import Any

from django.db import connection

from flows.definition.plan import Plan
from resources.fields import dumps
from runs import ranks
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
                run.pk, run.flow_id, run.release_id, str(run.status), run.version, run.seq, dumps(run.input),
                dumps(run.trigger), run.starter_id, run.limit_key, run.placed, run.priority,
                run.parent_id, run.parent_step, run.parent_item, run.depth, run.created_at,
            ],
        )  # fmt: skip
        cursor.execute(_CREATED, [run.pk, False, run.created_at, actor, dumps(data)])


def enqueue_start(run_id: str, at: float, plan: Plan, flow_id: int, priority: int) -> None:
    """The row a worker begins the run from. Beginning is quick, whatever the first step is."""
    place = ranks.rank_of(flow_id, plan.queue, priority, at)
    with connection.cursor() as cursor:
        cursor.execute(_WORK, [run_id, plan.queue, priority, True, False, place, at])
