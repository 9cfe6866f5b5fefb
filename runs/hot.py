"""The hot saves as one statement: a step ends, and the one it opened starts on the same queue row, or the run ends.

PostgreSQL only. One round trip and one commit, with no transaction around it: everything hangs on the run's version and
on the queue row being still ours, so a save that lost a race writes nothing. What does not fit goes the general way.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import Any, Final

from django.db import connection

from runs.engine import turn as cmd
from runs.engine.state import Key, State
from runs.engine.turn import Decision
from runs.queue import Claim
from runs.queue_rows import Fenced, Hold, Take
from runs.races import Stale

_LOCKED = """
WITH l AS (SELECT id FROM runs_work WHERE id = %s AND owner = %s AND fence = %s FOR UPDATE),
"""
_GOES_ON = """
r AS (UPDATE runs_run SET version = version + 1, seq = %s, status = %s, started_at = %s
       WHERE id = %s AND version = %s AND EXISTS (SELECT 1 FROM l) RETURNING id),
w AS (UPDATE runs_work SET kind = 'step', step = %s, item = %s, name = '', queue = %s, priority = %s, quick = %s,
              long = %s, wake_at = %s FROM r
       WHERE runs_work.id = %s RETURNING 1),
"""
_ENDS = """
r AS (UPDATE runs_run SET version = version + 1, seq = %s, status = %s, output = %s, error = %s, control = %s,
             degraded = %s, started_at = %s, ended_at = %s, error_class = %s, dead_at = %s
       WHERE id = %s AND version = %s AND EXISTS (SELECT 1 FROM l) RETURNING id),
w AS (DELETE FROM runs_work USING r WHERE runs_work.run_id = r.id RETURNING 1),
"""
_REST = """
s AS (INSERT INTO runs_steprun
             (run_id, step, item, status, version, pass_no, attempt, state, output, started_at, ended_at)
      SELECT v.* FROM r, (VALUES {steps}) AS v
      ON CONFLICT (run_id, step, item) DO UPDATE SET
         status = excluded.status, version = excluded.version, pass_no = excluded.pass_no, attempt = excluded.attempt,
         state = excluded.state, output = excluded.output, started_at = excluded.started_at,
         ended_at = excluded.ended_at RETURNING 1),
e AS (INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data)
      SELECT v.* FROM r, (VALUES {events}) AS v RETURNING 1)
SELECT (SELECT count(*) FROM l), (SELECT count(*) FROM r)
"""
_STEP = (
    "(%s::text, %s::text, %s::int, %s::text, %s::bigint, %s::int, %s::int, %s::text, %s::text, %s::float8, %s::float8)"
)
_EVENT = "(%s::text, %s::bigint, %s::text, 1::smallint, %s::boolean, %s::text, %s::int, %s::float8, %s::text, %s::text)"


@lru_cache(maxsize=64)
def _sql(change: str, steps: int, events: int) -> bytes:
    """Numbered parameters, so that the driver has nothing to rewrite each time."""
    rest = _REST.format(steps=", ".join([_STEP] * steps), events=", ".join([_EVENT] * events))
    numbers = count(1)
    return re.sub("%s", lambda _: f"${next(numbers)}", _LOCKED + change + rest).encode()


def ends(before: State, after: State, decisions: Sequence[Decision], hold: Hold | None) -> bool:
    """Is this save the good end of a run, from one row and with nothing else to tell?"""
    if connection.vendor != "postgresql" or connection.in_atomic_block or hold is None:
        return False
    if after.status != "succeeded" or before.ended or len(hold.rows) != 1 or hold.takes:
        return False
    if not any(d.changed for d in decisions):
        return False
    return all(isinstance(c, _AT_THE_END) for d in decisions for c in d.commands)


#: at an end, all rows of the run go, whatever was said about each
_AT_THE_END: Final = (cmd.Enqueue, cmd.Dequeue, cmd.SetTimer, cmd.ClearTimer, cmd.RunEnded)


def fits(before: State, after: State, decisions: Sequence[Decision], hold: Hold | None) -> bool:
    """Is this save of the hot shape?"""
    if connection.vendor != "postgresql" or connection.in_atomic_block or hold is None or after.ended:
        return False
    if len(hold.rows) != 1 or len(hold.takes) != 1 or not hold.takes[0].fresh:
        return False
    if before.output is not after.output or before.error is not after.error:
        return False
    if (before.paused, before.cancel, before.degraded) != (after.paused, after.cancel, after.degraded):
        return False
    if (before.ending, before.times) != (after.ending, after.times):
        return False
    touched = {hold.takes[0].key, (hold.rows[0].step, hold.rows[0].item)}
    for command in (c for d in decisions for c in d.commands):
        if not isinstance(command, cmd.Enqueue | cmd.Dequeue) or (command.step, command.item) not in touched:
            return False
        if isinstance(command, cmd.Enqueue) and (command.step, command.item) != hold.takes[0].key:
            return False
    return True


def save(
    before: State,
    after: State,
    hold: Hold,
    traits: tuple[str, int, bool, bool],
    steps: Sequence[Sequence[Any]],
    events: Sequence[Sequence[Any]],
    meanwhile: Callable[[], object] | None = None,
) -> dict[Key, Claim]:
    """Write it. `after` has its new seq and version. Raises Stale or Fenced, having written nothing.

    `meanwhile`: called while the server works; it must neither raise nor ask the database.
    """
    row, take = hold.rows[0], hold.takes[0]
    run = [after.seq, after.status, after.started_at, before.run_id, before.version]
    _write(_GOES_ON, hold, [*run, *take.key, *traits, take.until, row.id], steps, events, meanwhile)
    return {take.key: _moved(row, take)}


def save_end(
    before: State,
    after: State,
    hold: Hold,
    results: Sequence[Any],
    steps: Sequence[Sequence[Any]],
    events: Sequence[Sequence[Any]],
) -> None:
    """The run has ended. `results`: output, error, control, degraded, started_at, ended_at, error_class,
    dead_at. Raises as `save`.
    """
    _write(_ENDS, hold, [after.seq, after.status, *results, before.run_id, before.version], steps, events)


def _write(
    change: str,
    hold: Hold,
    changed: Sequence[Any],
    steps: Sequence[Sequence[Any]],
    events: Sequence[Sequence[Any]],
    meanwhile: Callable[[], object] | None = None,
) -> None:
    params = [hold.rows[0].id, hold.owner, hold.rows[0].fence, *changed]
    params += [value for values in (*steps, *events) for value in values]
    connection.ensure_connection()
    with connection.wrap_database_errors, _cursor()(connection.connection) as cursor:
        cursor.meanwhile = meanwhile
        found = cursor.execute(_sql(change, len(steps), len(events)), params, prepare=True).fetchone()
    ours, moved = found or (0, 0)
    if not ours:
        raise Fenced
    if not moved:
        raise Stale


@lru_cache(maxsize=1)
def _cursor() -> Any:
    """The driver's cursor, which calls `meanwhile` when it first waits: then the statement is on its way."""
    import psycopg

    class Cursor(psycopg.RawCursor[Any]):
        meanwhile: Callable[[], object] | None = None

        def _execute_gen(self, *args: Any, **options: Any) -> Generator[Any, Any, None]:
            running = super()._execute_gen(*args, **options)
            return running if self.meanwhile is None else _while_waiting(running, self.meanwhile)

    return Cursor


def _while_waiting(running: Generator[Any, Any, None], meanwhile: Callable[[], object]) -> Generator[Any, Any, None]:
    with contextlib.suppress(StopIteration):
        wanted = next(running)
        with connection.execute_wrapper(_refuse):
            meanwhile()
        while True:
            wanted = running.send((yield wanted))


def _refuse(*_: object) -> None:
    """The driver would wait for itself, for ever."""
    raise RuntimeError("The database was asked while it worked on a save.")


def _moved(row: Claim, take: Take) -> Claim:
    return replace(row, kind="step", step=take.key[0], item=take.key[1], name="")
