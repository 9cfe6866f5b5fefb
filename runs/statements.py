"""The SQL of a save, as it is for one row: of the run, its steps, its history, its rows of the queue.

How PostgreSQL takes many rows at once is in runs/wide.py. Column names here and in runs/models.py go together.
"""

from __future__ import annotations

# -- the run -----------------------------------------------------------------------------------------------------
RAISE = "UPDATE runs_run SET version = version + 1, seq = %s, status = %s WHERE id = %s AND version = %s"
RAISE_ALL = """
UPDATE runs_run SET version = version + 1, seq = %s, status = %s, output = %s, error = %s, control = %s, degraded = %s,
       started_at = %s, ended_at = %s, error_class = %s, dead_at = %s WHERE id = %s AND version = %s
"""
STEP = """
INSERT INTO runs_steprun
       (run_id, step, item, status, version, pass_no, attempt, state, output, started_at, ended_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (run_id, step, item) DO UPDATE SET
   status = excluded.status, version = excluded.version, pass_no = excluded.pass_no, attempt = excluded.attempt,
   state = excluded.state, output = excluded.output, started_at = excluded.started_at, ended_at = excluded.ended_at
"""
EVENT = """
INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data)
VALUES (%s, %s, %s, 1, %s, %s, %s, %s, %s, %s)
"""

# -- the queue ---------------------------------------------------------------------------------------------------
EXTEND = "UPDATE runs_work SET wake_at = %s WHERE id = %s AND owner = %s AND fence = %s"
MOVE = """
UPDATE runs_work SET kind = 'step', step = %s, item = %s, name = '', queue = %s, priority = %s, quick = %s, long = %s,
       wake_at = %s
 WHERE id = %s AND owner = %s AND fence = %s
"""
LET_GO = "DELETE FROM runs_work WHERE id = %s AND owner = %s AND fence = %s"
TAKE = """
UPDATE runs_work SET owner = %s, fence = fence + 1, wake_at = %s, rank = NULL
 WHERE run_id = %s AND step = %s AND item = %s AND kind = 'step' AND owner IS NULL RETURNING step, item, id, fence
"""
LEASED = """
INSERT INTO runs_work (kind, run_id, step, item, name, queue, priority, quick, long, wake_at, owner, fence)
VALUES ('step', %s, %s, %s, '', %s, %s, %s, %s, %s, %s, 1) RETURNING step, item, id, fence
"""
QUEUED = """
INSERT INTO runs_work (kind, run_id, step, item, name, queue, priority, quick, long, rank, wake_at, held_at, owner,
                       fence)
VALUES ('step', %s, %s, %s, '', %s, %s, %s, %s, %s, %s, %s, NULL, 0)
ON CONFLICT (run_id, step, item, kind, name) DO UPDATE SET
   queue = excluded.queue, priority = excluded.priority, quick = excluded.quick, long = excluded.long,
   rank = excluded.rank, wake_at = excluded.wake_at, held_at = excluded.held_at, owner = NULL
"""
TIMER = """
INSERT INTO runs_work (kind, run_id, step, item, name, queue, long, wake_at, held_at, owner, fence)
VALUES ('timer', %s, %s, %s, %s, %s, false, %s, %s, NULL, 0)
ON CONFLICT (run_id, step, item, kind, name) DO UPDATE SET
   wake_at = excluded.wake_at, held_at = excluded.held_at, owner = NULL, fence = runs_work.fence + 1
"""
NO_TIMER = "DELETE FROM runs_work WHERE run_id = %s AND step = %s AND item = %s AND kind = 'timer' AND name = %s"
DELETE = "DELETE FROM runs_work WHERE run_id = %s AND step = %s AND item = %s"
DELETE_RUN = "DELETE FROM runs_work WHERE run_id = %s"
