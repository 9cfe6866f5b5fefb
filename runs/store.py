"""Runs in the database: load, bring up to date, and save a decision with everything that follows from it.

A save is one transaction that starts by raising the run's version (its row lock); when the version has moved,
`Stale` is raised, nothing is written, and the caller decides again on fresh state. No expression is evaluated here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import IntegrityError, connection, transaction

from flows.definition.plan import Plan
from flows.models import Release
from resources.fields import dumps
from runs import bell, children, hot, limits, permits, queue_rows, waits
from runs.batch import Batch, Row, Writer
from runs.engine.state import FANNED, Key, State, Step, state_with
from runs.engine.turn import Decision
from runs.queue import Claim
from runs.queue_rows import Hold, Line
from runs.races import Stale
from runs.rows import control_of, dead_at, error_class, step_extra, step_of, text

Json = Any

__all__ = ["Loaded", "Save", "Stale", "load", "lock", "plan_of", "save"]


@dataclass(slots=True)
class Loaded:
    """A run in memory, as of `state.version`."""

    state: State
    plan: Plan
    flow_id: int
    release_id: int
    limit_key: str
    placed: bool
    flow: str = ""
    starter_id: int | None = None
    folder: str = ""
    priority: int = 0  # the run's: its start's, or the flow's
    has_parent: bool = False  # another run called it

    def at(self, state: State) -> Loaded:
        """The same run in another state."""
        if state is self.state:
            return self
        return Loaded(
            state, self.plan, self.flow_id, self.release_id, self.limit_key, self.placed, self.flow, self.starter_id,
            self.folder, self.priority, self.has_parent,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Save:
    """One or more decisions in a row, to be written together."""

    decisions: Sequence[Decision]
    now: float
    hold: Hold | None = None  # the worker's queue rows, before and after
    connections: Sequence[tuple[int, int]] = ()  # (id, version): all must still be so


# -- loading -------------------------------------------------------------------------------------------------
@lru_cache(maxsize=256)
def plan_of(release_id: int) -> Plan:
    """A release never changes, so its plan is read once per process."""
    return Release.objects.only("plan_json").get(pk=release_id).plan


_RUN = """
SELECT r.status, r.version, r.seq, r.input, r.trigger, r.output, r.error, r.control, r.created_at, r.started_at,
       r.ended_at, r.flow_id, r.release_id, r.limit_key, r.placed, f.slug, r.starter_id, f.folder, r.priority,
       r.parent_id IS NOT NULL
  FROM runs_run r JOIN flows_flow f ON f.id = r.flow_id WHERE r.id = %s
"""
_STEPS = """
SELECT step, item, status, pass_no, attempt, state, output, started_at, ended_at
  FROM runs_steprun WHERE run_id = %s AND version > %s
"""


def _json(value: str | None) -> Json:
    return None if value is None else json.loads(value)


def load(run_id: str, before: Loaded | None = None) -> Loaded | None:
    """The run as it is, or None. With `before`, only what changed since is read."""
    # no transaction: the version is read first, so a step that is newer makes the save Stale, never wrong; and on
    # SQLite a transaction would take the write lock
    with connection.cursor() as cursor:
        cursor.execute(_RUN, [run_id])
        row = cursor.fetchone()
        if row is None:
            return None
        if before is not None and before.state.version == row[1]:
            return before
        since = before.state.version if before is not None else -1
        cursor.execute(_STEPS, [run_id, since])
        rows = cursor.fetchall()
    steps: dict[Key, Step] = dict(before.state.steps) if before is not None else {}
    for r in rows:
        step = step_of(r[0], r[1], r[2], r[3], r[4], json.loads(r[5]), _json(r[6]), r[7], r[8])
        steps[step.key] = step
    return _loaded(run_id, row, steps)


def _loaded(run_id: str, row: Sequence[Any], steps: dict[Key, Step]) -> Loaded:
    control = json.loads(row[7])
    state = State(
        run_id=run_id,
        status=row[0],
        version=row[1],
        seq=row[2],
        input=_json(row[3]),
        trigger=_json(row[4]),
        steps=steps,
        output=_json(row[5]),
        error=_json(row[6]),
        paused=control.get("paused"),
        cancel=control.get("cancel"),
        ending=control.get("ending"),
        degraded=control.get("degraded", False),
        times=control.get("times"),
        created_at=row[8],
        started_at=row[9],
        ended_at=row[10],
    )
    plan = plan_of(row[12])
    return Loaded(
        state, plan, row[11], row[12], row[13], bool(row[14]), row[15], row[16], row[17], row[18], bool(row[19])
    )


def lock(loaded: Loaded) -> None:
    """Hold the run as it was loaded for the rest of the caller's transaction. Raises Stale."""
    suffix = " FOR UPDATE" if connection.vendor == "postgresql" else ""  # SQLite: the transaction is the lock
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT version FROM runs_run WHERE id = %s{suffix}", [loaded.state.run_id])  # noqa: S608
        if cursor.fetchone() != (loaded.state.version,):
            raise Stale


def _version_of(run_id: str) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM runs_run WHERE id = %s", [run_id])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


# -- saving ----------------------------------------------------------------------------------------------------
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


def save(loaded: Loaded, saving: Save) -> tuple[Loaded, dict[Key, Claim]]:
    """Write the decisions; give the run as it is then, and the queue rows of the steps taken.

    Raises Stale, queue_rows.Fenced or queue_rows.Taken, having written nothing.
    """
    state = saving.decisions[-1].state
    timed = saving.hold is not None and any(queue_rows.is_timed(loaded.plan, row.step) for row in saving.hold.rows)
    if not timed and hot.fits(loaded.state, state, saving.decisions, saving.hold) and not saving.connections:
        return _save_hot(loaded, state, saving)
    try:
        with transaction.atomic():
            with Batch() as batch:
                state, rings, taken = write(batch, loaded, saving)
            for decision in saving.decisions:
                rings |= waits.carry_out(loaded, state, decision.commands, saving.now)
            if loaded.plan.connections:
                permits.follow(loaded.state, state, loaded.plan.connections, saving.now)
            if state.ended and not loaded.state.ended:
                rings |= limits.free(loaded.flow_id, loaded.limit_key, loaded.placed, saving.now)
                if loaded.has_parent:
                    children.wake_parent(state.run_id, saving.now)
                    rings = True
    except IntegrityError as error:
        # Sent together with the version's check, a statement may break a constraint before that is looked at:
        # the same event number, the same step opened by somebody who was faster.
        if _version_of(loaded.state.run_id) != loaded.state.version:
            raise Stale from error
        raise
    channels = (bell.EVENTS, *((bell.WORK,) if rings else ()))
    if connection.in_atomic_block:  # an action's: rung now, nobody would see anything yet
        bell.ring_on_commit(*channels)
    else:
        bell.ring(*channels)
    return loaded.at(state), taken


def write(batch: Writer, loaded: Loaded, saving: Save) -> tuple[State, bool, dict[Key, Claim]]:
    """All of a save but its waits: the state as it is then, whether others have work now, the rows of steps taken."""
    state = _raise_version(batch, loaded.state, saving.decisions[-1].state, saving)
    if any(step.status == FANNED for step in loaded.state.steps.values()):
        batch.flush()  # others are at this run, too: learn it before the rest is sent
    _check_connections(batch, saving.connections)
    _write_steps(batch, state, saving.decisions)
    line = Line(loaded.flow_id, loaded.priority, saving.now)
    rings, taken = queue_rows.write(batch, loaded.plan, state, saving.decisions, saving.hold, line)
    batch.many(EVENT, _event_rows(state, saving))
    return state, rings, taken


def _save_hot(loaded: Loaded, state: State, saving: Save) -> tuple[Loaded, dict[Key, Claim]]:
    before, hold = loaded.state, saving.hold
    assert hold is not None  # noqa: S101  for mypy; hot.fits checked
    seq = before.seq + sum(len(d.events) for d in saving.decisions)
    state = state_with(state, {"seq": seq, "version": before.version + 1})
    changed = sorted(set().union(*(d.changed for d in saving.decisions)))
    steps = [_step_row(state, state.steps[key]) for key in changed]
    traits = queue_rows.traits(loaded.plan, hold.takes[0].key[0], loaded.priority)
    taken = hot.save(before, state, hold, traits, steps, _event_rows(state, saving))
    bell.ring(bell.EVENTS)
    return loaded.at(state), taken


def _raise_version(batch: Writer, before: State, after: State, saving: Save) -> State:
    seq = before.seq + sum(len(d.events) for d in saving.decisions)
    same = (
        before.output is after.output
        and before.error is after.error
        and (before.paused, before.cancel, before.degraded) == (after.paused, after.cancel, after.degraded)
        and (before.ending, before.times) == (after.ending, after.times)
        and (before.started_at, before.ended_at) == (after.started_at, after.ended_at)
    )
    if same:
        batch.run(RAISE, [seq, after.status, before.run_id, before.version], moved)
    else:
        values = [
            text(after.output), text(after.error), dumps(control_of(after)), after.degraded,
            after.started_at, after.ended_at, error_class(after.error), dead_at(after),
        ]  # fmt: skip
        batch.run(RAISE_ALL, [seq, after.status, *values, before.run_id, before.version], moved)
    return state_with(after, {"seq": seq, "version": before.version + 1})


def moved(count: int, row: Row | None) -> None:
    """A check: raises Stale."""
    if count != 1:
        raise Stale


def _check_connections(batch: Writer, wanted: Iterable[tuple[int, int]]) -> None:
    for pk, version in wanted:
        batch.run("SELECT 1 FROM resources_connection WHERE id = %s AND version = %s", [pk, version], _changed)


def _changed(count: int, row: Row | None) -> None:
    if row is None:
        raise Stale


def _write_steps(batch: Writer, state: State, decisions: Sequence[Decision]) -> None:
    changed = set().union(*(d.changed for d in decisions))
    batch.many(STEP, [_step_row(state, state.steps[key]) for key in sorted(changed)])


def _step_row(state: State, step: Step) -> list[Json]:
    return [
        state.run_id, step.id, step.item, step.status, state.version, step.pass_no, step.attempt,
        dumps(step_extra(step)), text(step.output), step.started_at, step.ended_at,
    ]  # fmt: skip


def _event_rows(state: State, saving: Save) -> list[list[Json]]:
    events = [e for d in saving.decisions for e in d.events]
    first = state.seq - len(events) + 1
    return [
        [state.run_id, first + i, e.type, e.cause, e.step, e.item, saving.now, e.actor, dumps(dict(e.data))]
        for i, e in enumerate(events)
    ]
