"""Runs out of the database: as they are, or brought up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from django.db import connection

from flows.definition.bindings import Place
from flows.definition.plan import Plan
from flows.models import Release
from runs import columns
from runs.engine.state import Key, State, Step
from runs.rows import step_of

Json = Any


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


def place_of(loaded: Loaded) -> Place:
    """Whose bindings say what the names of connections stand for in this run."""
    return Place(loaded.flow, bool((loaded.state.trigger or {}).get("test")))


@lru_cache(maxsize=256)
def plan_of(release_id: int) -> Plan:
    """A release never changes, so its plan is read once per process."""
    return Release.objects.only("plan_json").get(pk=release_id).plan


RUN_COLUMNS: Final = """
       r.id, r.status, r.version, r.seq, r.input, r.trigger, r.output, r.error, r.control, r.created_at, r.started_at,
       r.ended_at, r.flow_id, r.release_id, r.limit_key, r.placed, f.slug, r.starter_id, f.folder, r.priority,
       r.parent_id IS NOT NULL"""
_RUN = f"SELECT {RUN_COLUMNS} FROM runs_run r JOIN flows_flow f ON f.id = r.flow_id WHERE r.id"  # noqa: S608  a constant
_STEPS = """
SELECT run_id, step, item, status, pass_no, attempt, state, output, started_at, ended_at
  FROM runs_steprun WHERE version > %s AND run_id"""


def load(run_id: str, before: Loaded | None = None) -> Loaded | None:
    """The run as it is, or None. With `before`, only what changed since is read."""
    make = _read([run_id], -1 if before is None else before.state.version, before).get(run_id)
    return None if make is None else make()


def load_some(run_ids: Sequence[str]) -> dict[str, Callable[[], Loaded]]:
    """What makes each run as it is, of those that are there: one that cannot be read must not stop the others."""
    return _read(run_ids, -1, None)


def _read(run_ids: Sequence[str], since: int, before: Loaded | None) -> dict[str, Callable[[], Loaded]]:
    # no transaction: versions are read first, so a step that is newer makes the save Stale, never wrong; and on
    # SQLite a transaction would take the write lock
    if connection.vendor == "postgresql":
        runs, steps = _read_at_once(list(run_ids), since)
    else:
        marks = ", ".join(["%s"] * len(run_ids))
        with connection.cursor() as cursor:
            cursor.execute(f"{_RUN} IN ({marks})", list(run_ids))
            runs = cursor.fetchall()
            cursor.execute(f"{_STEPS} IN ({marks})", [since, *run_ids])
            steps = cursor.fetchall()
    by_run: dict[str, list[Sequence[Any]]] = {}
    for row in steps:
        by_run.setdefault(row[0], []).append(row)
    return {row[0]: partial(_made, row, by_run.get(row[0], ()), before) for row in runs}


def _read_at_once(run_ids: list[str], since: int) -> tuple[list[Any], list[Any]]:
    """PostgreSQL: both questions in one round trip, each with a snapshot of its own, in this order."""
    import psycopg

    connection.ensure_connection()
    raw = connection.connection
    with connection.wrap_database_errors, raw.pipeline():
        runs = psycopg.Cursor(raw).execute(f"{_RUN} = ANY(%s::text[])", [run_ids], prepare=True)
        steps = psycopg.Cursor(raw).execute(f"{_STEPS} = ANY(%s::text[])", [since, run_ids], prepare=True)
        return runs.fetchall(), steps.fetchall()


def new(row: Sequence[Any]) -> Loaded:
    """A run of which nothing but its own row is there yet (RUN_COLUMNS)."""
    return _made(row, (), None)


def _made(row: Sequence[Any], rows: Sequence[Sequence[Any]], before: Loaded | None) -> Loaded:
    if before is not None and before.state.version == row[2]:
        return before
    steps: dict[Key, Step] = dict(before.state.steps) if before is not None else {}
    for run, *r in rows:
        extra, output = columns.STATE.load(r[5], run, r[0], r[1]), columns.STEP_OUTPUT.load_null(r[6], run, r[0], r[1])
        step = step_of(r[0], r[1], r[2], r[3], r[4], extra, output, r[7], r[8])
        steps[step.key] = step
    return _loaded(row[0], row[1:], steps)


def _loaded(run_id: str, row: Sequence[Any], steps: dict[Key, Step]) -> Loaded:
    control = columns.CONTROL.load(row[7], run_id)
    state = State(
        run_id=run_id,
        status=row[0],
        version=row[1],
        seq=row[2],
        input=columns.INPUT.load_null(row[3], run_id),
        trigger=columns.TRIGGER.load_null(row[4], run_id),
        steps=steps,
        output=columns.OUTPUT.load_null(row[5], run_id),
        error=columns.ERROR.load_null(row[6], run_id),
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
