"""Saves of several runs in one transaction: one commit for all of them, and whoever lost a race drops out alone.

First every run and every queue row concerned is locked, runs before rows, each in id order, and looked at; then those
that are as they were loaded are written, a statement a table. Only plain saves go this way (`record`): steps that end,
open and start. A save that opens waits, frees places or takes rows of others goes alone through `store.save`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection, transaction

from runs import bell, permits, queue_rows, store
from runs.batch import Batch, Check, Row
from runs.engine import turn as cmd
from runs.engine.state import Key, State
from runs.queue import Claim
from runs.queue_rows import Fenced
from runs.races import Stale
from runs.store import Loaded, Save

_PLAIN: Final = (cmd.Enqueue, cmd.Dequeue, cmd.SetTimer, cmd.ClearTimer, cmd.RunEnded)


class Moved(Exception):
    """A row that was locked is not as it was: nothing was written."""


class _NotPlain(Exception):
    """The save wants to know more of a statement than that it found its row."""


@dataclass(slots=True)
class Record:
    """What one save would write: {statement: parameter rows}. Stands in for a Batch."""

    loaded: Loaded
    rows: Sequence[Claim]  # held: all must still be ours
    statements: dict[str, list[Sequence[Any]]] = field(default_factory=dict)
    taken: dict[Key, Claim] = field(default_factory=dict)
    state: State = field(init=False)
    rings: bool = False

    def run(self, sql: str, params: Sequence[Any], check: Check | None = None) -> None:
        if check not in _IMPLIED:
            raise _NotPlain
        self.statements.setdefault(sql, []).append(params)

    def many(self, sql: str, rows: Sequence[Sequence[Any]], check: Check | None = None) -> None:
        if check not in _IMPLIED:
            raise _NotPlain
        if rows:
            self.statements.setdefault(sql, []).extend(rows)

    def flush(self) -> None:
        pass


#: what these would find out is known beforehand here
_IMPLIED: Final = (None, queue_rows.still_mine, store.moved)


def record(loaded: Loaded, saving: Save) -> Record | None:
    """The save, ready to be written together with others; None where it must go alone."""
    after = saving.decisions[-1].state
    if saving.hold is None or saving.connections or (after.ended and (loaded.limit_key or loaded.has_parent)):
        return None
    if permits.concern(loaded.plan.connections):  # steps that wait for one may end with this, and with them their place
        return None
    if not all(isinstance(c, _PLAIN) for d in saving.decisions for c in d.commands):
        return None
    made = Record(loaded, saving.hold.rows)
    try:
        made.state, made.rings, made.taken = store.write(made, loaded, saving)
    except _NotPlain:
        return None
    return made


Outcome = tuple[Loaded, dict[Key, Claim]] | Stale | Fenced


def save(owner: str, records: Sequence[Record]) -> list[Outcome]:
    """Write them in one transaction. For each: the run as it is then and the rows of its steps taken, or why not."""
    with transaction.atomic():
        runs, rows = _lock(owner, records)
        outcomes = [_outcome(one, runs, rows) for one in records]
        won = [one for one, outcome in zip(records, outcomes, strict=True) if isinstance(outcome, tuple)]
        with Batch() as batch:
            for sql in _ORDER:
                _write(batch, sql, [row for one in won for row in one.statements.get(sql, ())])
    if won:
        bell.ring(bell.EVENTS, *((bell.WORK,) if any(one.rings for one in won) else ()))
    return outcomes


def _outcome(one: Record, runs: set[str], rows: set[int]) -> Outcome:
    if one.loaded.state.run_id not in runs:
        return Stale()
    if any(row.id not in rows for row in one.rows):
        return Fenced()
    return one.loaded.at(one.state), one.taken


# -- looking -----------------------------------------------------------------------------------------------------
_LOCK_RUNS = """
SELECT r.id FROM runs_run r JOIN unnest(%s::text[], %s::bigint[]) AS v(id, version)
    ON r.id = v.id AND r.version = v.version ORDER BY r.id FOR NO KEY UPDATE OF r
"""
_LOCK_ROWS = """
SELECT w.id FROM runs_work w JOIN unnest(%s::bigint[], %s::int[]) AS v(id, fence)
    ON w.id = v.id AND w.fence = v.fence WHERE w.owner = %s ORDER BY w.id FOR UPDATE OF w
"""


def _lock(owner: str, records: Iterable[Record]) -> tuple[set[str], set[int]]:
    """Ids of the runs that have not moved, and of the queue rows that are still ours."""
    versions = {one.loaded.state.run_id: one.loaded.state.version for one in records}
    fences = {row.id: row.fence for one in records for row in one.rows}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_LOCK_RUNS, [list(versions), list(versions.values())])
            runs = {id_ for (id_,) in cursor.fetchall()}
            cursor.execute(_LOCK_ROWS, [list(fences), list(fences.values()), owner])
            return runs, {id_ for (id_,) in cursor.fetchall()}
        # SQLite: the transaction is the lock
        cursor.execute(f"SELECT id, version FROM runs_run WHERE id IN ({_marks(versions)})", list(versions))  # noqa: S608
        runs = {id_ for id_, version in cursor.fetchall() if versions[id_] == version}
        cursor.execute(
            f"SELECT id, fence FROM runs_work WHERE owner = %s AND id IN ({_marks(fences)})",  # noqa: S608
            [owner, *fences],
        )
        return runs, {id_ for id_, fence in cursor.fetchall() if fences[id_] == fence}


def _marks(values: Mapping[Any, Any]) -> str:
    return ", ".join(["%s"] * len(values))


# -- writing -----------------------------------------------------------------------------------------------------
#: the order within one save: the run, its steps, the rows held, those that come and go, the history
_ORDER: Final = (
    store.RAISE, store.RAISE_ALL, store.STEP, queue_rows.EXTEND, queue_rows.MOVE, queue_rows.LET_GO,
    queue_rows.DELETE, queue_rows.QUEUED, queue_rows.NO_TIMER, queue_rows.TIMER, queue_rows.DELETE_RUN, store.EVENT,
)  # fmt: skip

#: PostgreSQL takes all rows of a statement as one: {statement: (types of its parameters, the same over many rows)}
_WIDE: Final[dict[str, tuple[str, str]]] = {
    store.RAISE: (
        "bigint text text bigint",
        """UPDATE runs_run AS r SET version = r.version + 1, seq = v.a, status = v.b
             FROM v WHERE r.id = v.c AND r.version = v.d""",
    ),
    store.RAISE_ALL: (
        "bigint text text text text bool float8 float8 text float8 text bigint",
        """UPDATE runs_run AS r SET version = r.version + 1, seq = v.a, status = v.b, output = v.c, error = v.d,
                  control = v.e, degraded = v.f, started_at = v.g, ended_at = v.h,
                  error_class = v.i, dead_at = v.j
             FROM v WHERE r.id = v.k AND r.version = v.l""",
    ),
    store.STEP: (
        "text text int text bigint int int text text float8 float8",
        store.STEP.replace("VALUES (" + ", ".join(["%s"] * 11) + ")", "SELECT * FROM v"),
    ),
    store.EVENT: (
        "text bigint text bool text int float8 text text",
        store.EVENT.replace(
            "VALUES (%s, %s, %s, 1, %s, %s, %s, %s, %s, %s)",
            "SELECT v.a, v.b, v.c, 1, v.d, v.e, v.f, v.g, v.h, v.i FROM v",
        ),
    ),
    queue_rows.EXTEND: (
        "float8 bigint text int",
        "UPDATE runs_work AS w SET wake_at = v.a FROM v WHERE w.id = v.b AND w.owner = v.c AND w.fence = v.d",
    ),
    queue_rows.MOVE: (
        "text int text int bool bool float8 bigint text int",
        """UPDATE runs_work AS w SET kind = 'step', step = v.a, item = v.b, name = '', queue = v.c, priority = v.d,
                  quick = v.e, long = v.f, wake_at = v.g FROM v WHERE w.id = v.h AND w.owner = v.i AND w.fence = v.j""",
    ),
    queue_rows.LET_GO: (
        "bigint text int",
        "DELETE FROM runs_work AS w USING v WHERE w.id = v.a AND w.owner = v.b AND w.fence = v.c",
    ),
    queue_rows.DELETE_RUN: ("text", "DELETE FROM runs_work AS w USING v WHERE w.run_id = v.a"),
}


def _wide(types: str, body: str) -> str:
    kinds = types.split()
    names = ", ".join("abcdefghijklmnop"[: len(kinds)])
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    return f"WITH v AS (SELECT * FROM unnest({arrays}) AS u({names})) {body}"  # noqa: S608  constants


_WIDE_SQL: Final = {sql: _wide(*wide) for sql, wide in _WIDE.items()}
#: these find each of their rows, or something is wrong that `_lock` should have seen
_ALL_FOUND: Final = {store.RAISE, store.RAISE_ALL, queue_rows.EXTEND, queue_rows.MOVE, queue_rows.LET_GO}


def _write(batch: Batch, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    if not rows:
        return
    check = _exactly(len(rows)) if sql in _ALL_FOUND else None
    if connection.vendor == "postgresql" and sql in _WIDE_SQL:
        batch.run(_WIDE_SQL[sql], [_array(column) for column in zip(*rows, strict=True)], check)
    elif connection.vendor != "postgresql":
        batch.many(sql, rows, check)
    else:
        batch.many(sql, rows)


def _array(values: Iterable[Any]) -> str:
    """A column as PostgreSQL writes arrays. The driver's own way looks at each value several times."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)  # a number, or a truth: "True" is one of its names


def _exactly(count: int) -> Callable[[int, Row | None], None]:
    def check(found: int, row: Row | None) -> None:
        if found != count:
            raise Moved(f"{count - found} rows moved under their locks")

    return check
