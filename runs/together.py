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
from runs import statements as st
from runs.batch import Batch, Check, Row
from runs.engine import turn as cmd
from runs.engine.state import Key, State
from runs.loading import place_of
from runs.queue import Claim
from runs.queue_rows import Fenced
from runs.races import Stale
from runs.store import Loaded, Save
from runs.wide import array, text_array

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
    written: dict[str, list[Sequence[Any]]] = field(default_factory=dict)
    taken: dict[Key, Claim] = field(default_factory=dict)
    state: State = field(init=False)
    rings: bool = False

    def run(self, sql: str, params: Sequence[Any], check: Check | None = None) -> None:
        if check not in _IMPLIED:
            raise _NotPlain
        self.written.setdefault(sql, []).append(params)

    def many(self, sql: str, rows: Sequence[Sequence[Any]], check: Check | None = None) -> None:
        if check not in _IMPLIED:
            raise _NotPlain
        if rows:
            self.written.setdefault(sql, []).extend(rows)

    def each(self, sql: str, rows: Sequence[Sequence[Any]], note: Callable[[Sequence[Row]], None]) -> None:
        if rows:
            raise _NotPlain

    def flush(self) -> None:
        pass


#: what these would find out is known beforehand here
_IMPLIED: Final = (None, queue_rows.still_mine, store.moved)


def record(loaded: Loaded, saving: Save) -> Record | None:
    """The save, ready to be written together with others; None where it must go alone."""
    after = saving.decisions[-1].state
    if saving.hold is None or saving.connections or (after.ended and (loaded.limit_key or loaded.has_parent)):
        return None
    # steps that wait for a limited connection may end with this, and with them their place
    if permits.concern(loaded.plan.connections, place_of(loaded)):
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
                every = [row for one in won for row in one.written.get(sql, ())]
                batch.many(sql, every, _moved if sql in _ALL_FOUND else None)
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
    if connection.vendor == "postgresql":
        return _lock_at_once(owner, versions, fences)
    with connection.cursor() as cursor:
        # SQLite: the transaction is the lock
        cursor.execute(f"SELECT id, version FROM runs_run WHERE id IN ({_marks(versions)})", list(versions))  # noqa: S608
        runs = {id_ for id_, version in cursor.fetchall() if versions[id_] == version}
        cursor.execute(
            f"SELECT id, fence FROM runs_work WHERE owner = %s AND id IN ({_marks(fences)})",  # noqa: S608
            [owner, *fences],
        )
        return runs, {id_ for id_, fence in cursor.fetchall() if fences[id_] == fence}


def _lock_at_once(owner: str, versions: Mapping[str, int], fences: Mapping[int, int]) -> tuple[set[str], set[int]]:
    """In one round trip, the beginning of the transaction with it."""
    runs: list[str] = []
    rows: list[int] = []
    with Batch() as batch:
        ours = [text_array(list(versions)), array(list(versions.values()))]
        batch.ask(_LOCK_RUNS, ours, lambda found: runs.extend(id_ for (id_,) in found))
        held = [array(list(fences)), array(list(fences.values())), owner]
        batch.ask(_LOCK_ROWS, held, lambda found: rows.extend(id_ for (id_,) in found))
    return set(runs), set(rows)


def _marks(values: Mapping[Any, Any]) -> str:
    return ", ".join(["%s"] * len(values))


# -- writing -----------------------------------------------------------------------------------------------------
#: the order within one save: the run, its steps, the rows held, those that come and go, the history
_ORDER: Final = (
    st.RAISE, st.RAISE_ALL, st.STEP, st.EXTEND, st.MOVE, st.LET_GO,
    st.DELETE, st.QUEUED, st.NO_TIMER, st.TIMER, st.DELETE_RUN, st.EVENT,
)  # fmt: skip

#: these find each of their rows, or something is wrong that `_lock` should have seen
_ALL_FOUND: Final = {st.RAISE, st.RAISE_ALL, st.EXTEND, st.MOVE, st.LET_GO}


def _moved(count: int, row: Row | None) -> None:
    if count != 1:
        raise Moved("rows moved under their locks")
