"""Runs in the database: save a decision with everything that follows from it.

A save is one transaction that starts by raising the run's version (its row lock); when the version has moved,
`Stale` is raised, nothing is written, and the caller decides again on fresh state. No expression is evaluated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import IntegrityError, connection, transaction

from runs import bell, children, columns, hot, limits, permits, queue_rows, statements, waits
from runs.batch import Batch, Row, Writer
from runs.engine.state import FANNED, Key, State, Step, state_with
from runs.engine.turn import Decision
from runs.loading import Loaded, load, load_some, place_of, plan_of
from runs.named import matching
from runs.queue import Claim
from runs.queue_rows import Hold, Line
from runs.races import Stale
from runs.rows import control_of, dead_at, error_class, step_extra

Json = Any

__all__ = ["Loaded", "Save", "Stale", "load", "load_some", "lock", "plan_of", "save"]


@dataclass(frozen=True, slots=True)
class Save:
    """One or more decisions in a row, to be written together."""

    decisions: Sequence[Decision]
    now: float
    hold: Hold | None = None  # the worker's queue rows, before and after
    connections: Sequence[tuple[int, int]] = ()  # (id, version): all must still be so
    #: called, if at all, with the run as it will be, while the server writes; neither raises nor asks the database
    meanwhile: Callable[[Loaded], object] | None = None


# -- looking again -----------------------------------------------------------------------------------------------
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


def save(loaded: Loaded, saving: Save) -> tuple[Loaded, dict[Key, Claim]]:
    """Write the decisions; give the run as it is then, and the queue rows of the steps taken.

    Raises Stale, queue_rows.Fenced or queue_rows.Taken, having written nothing.
    """
    state = saving.decisions[-1].state
    timed = saving.hold is not None and any(queue_rows.is_timed(loaded.plan, row.step) for row in saving.hold.rows)
    if not timed and hot.fits(loaded.state, state, saving.decisions, saving.hold) and not saving.connections:
        return _save_hot(loaded, state, saving)
    if not (loaded.plan.connections or loaded.limit_key or loaded.has_parent or saving.connections) and hot.ends(
        loaded.state, state, saving.decisions, saving.hold
    ):
        return _save_end(loaded, state, saving)
    try:
        with transaction.atomic():
            matching.lock_for(saving.decisions)
            with Batch() as batch:
                state, rings, taken = write(batch, loaded, saving)
            for decision in saving.decisions:
                rings |= waits.carry_out(loaded, state, decision.commands, saving.now)
            if loaded.plan.connections:
                permits.follow(loaded.state, state, loaded.plan.connections, place_of(loaded), saving.now)
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
    batch.many(statements.EVENT, _event_rows(state, saving))
    return state, rings, taken


def _save_hot(loaded: Loaded, state: State, saving: Save) -> tuple[Loaded, dict[Key, Claim]]:
    hold = saving.hold
    assert hold is not None  # noqa: S101  for mypy; hot.fits checked
    state, steps, events = _rows(loaded.state, state, saving)
    traits = queue_rows.traits(loaded.plan, hold.takes[0].key[0], loaded.priority)
    after, tell = loaded.at(state), saving.meanwhile
    meanwhile = None if tell is None else partial(tell, after)
    taken = hot.save(loaded.state, state, hold, traits, steps, events, meanwhile)
    bell.ring(bell.EVENTS)
    return after, taken


def _save_end(loaded: Loaded, state: State, saving: Save) -> tuple[Loaded, dict[Key, Claim]]:
    assert saving.hold is not None  # noqa: S101  for mypy; hot.ends checked
    state, steps, events = _rows(loaded.state, state, saving)
    hot.save_end(loaded.state, state, saving.hold, _results(state), steps, events)
    bell.ring(bell.EVENTS)
    return loaded.at(state), {}


def _rows(before: State, after: State, saving: Save) -> tuple[State, list[list[Json]], list[list[Json]]]:
    """The state as it is then, and the rows of what changed and of what happened."""
    seq = before.seq + sum(len(d.events) for d in saving.decisions)
    state = state_with(after, {"seq": seq, "version": before.version + 1})
    changed = sorted(set().union(*(d.changed for d in saving.decisions)))
    return state, [_step_row(state, state.steps[key]) for key in changed], _event_rows(state, saving)


def _results(state: State) -> list[Json]:
    run = state.run_id
    return [
        columns.OUTPUT.dump_null(state.output, run), columns.ERROR.dump_null(state.error, run),
        columns.CONTROL.dump(control_of(state), run), state.degraded, state.started_at, state.ended_at,
        error_class(state.error), dead_at(state),
    ]  # fmt: skip


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
        batch.run(statements.RAISE, [seq, after.status, before.run_id, before.version], moved)
    else:
        batch.run(statements.RAISE_ALL, [seq, after.status, *_results(after), before.run_id, before.version], moved)
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
    batch.many(statements.STEP, [_step_row(state, state.steps[key]) for key in sorted(changed)])


def _step_row(state: State, step: Step) -> list[Json]:
    row = (state.run_id, step.id, step.item)
    return [
        *row, step.status, state.version, step.pass_no, step.attempt, columns.STATE.dump(step_extra(step), *row),
        columns.STEP_OUTPUT.dump_null(step.output, *row), step.started_at, step.ended_at,
    ]  # fmt: skip


def _event_rows(state: State, saving: Save) -> list[list[Json]]:
    events = [e for d in saving.decisions for e in d.events]
    run, dump = state.run_id, columns.DATA.dump
    return [
        [run, seq, e.type, e.cause, e.step, e.item, saving.now, e.actor, dump(dict(e.data), run, seq)]
        for seq, e in enumerate(events, state.seq - len(events) + 1)
    ]
