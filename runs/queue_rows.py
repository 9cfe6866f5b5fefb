"""What a decision does to the queue, inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.conf import settings

from flows.definition.plan import Plan
from flows.steps.registry import family
from runs import ranks
from runs import statements as sql
from runs.batch import Row, Writer
from runs.engine import turn as cmd
from runs.engine.state import Key, State
from runs.engine.turn import Decision
from runs.queue import Claim


class Fenced(Exception):
    """The row this worker holds is somebody else's by now. Drop everything."""


class Taken(Exception):
    """The step this worker wanted to go on with was claimed by another one; its argument is the step's key."""


@dataclass(frozen=True, slots=True)
class Take:
    """Go on with this step, leased until `until`. `fresh`: this very decision opened it, so it has no row yet."""

    key: Key
    until: float
    fresh: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """The rows `owner` holds whose steps have ended (or not begun), and the steps it goes on with instead.

    `keeps`: steps it means to carry out alone; rows of them that become ready are nobody else's for a while.
    """

    owner: str
    rows: Sequence[Claim]
    takes: Sequence[Take] = ()
    keeps: frozenset[str] = frozenset()


#: seconds for which rows are left to the worker that keeps them: at least, more for each of them, at most. It gives
#: them up by itself when it leaves the run, and where it dies the rows it holds bring another one at once.
ALONE: Final = 0.1
ALONE_A_ROW: Final = 0.003
ALONE_MAX: Final = 10.0
_HOLD = """
UPDATE runs_work SET held_at = coalesce(wake_at, 1), wake_at = NULL, rank = NULL
 WHERE run_id = %s AND owner IS NULL AND (wake_at IS NOT NULL OR held_by <> '') AND kind <> 'close'
"""
_RELEASE = "UPDATE runs_work SET wake_at = held_at, held_at = NULL WHERE run_id = %s AND held_at IS NOT NULL"


def is_long(plan: Plan, step: str) -> bool:
    """Long attempts leave one worker of each cluster to the others (rule 9 of the design)."""
    return plan.step(step).timeout > float(settings.LONG_SECONDS)


def queue_of(plan: Plan, step: str) -> str:
    """The queue whose workers take the step; of the run itself (`step` ""), the flow's."""
    return (plan.step(step).queue if step else None) or plan.queue


def is_pure(plan: Plan, step: str) -> bool:
    """Has the step neither effects nor anything to wait for? Then it may share commits, and claims."""
    own = plan.step(step)
    return family(own.family).pure and not own.protected_by and own.fallback is None and own.already_done is None


def traits(plan: Plan, step: str, priority: int) -> tuple[str, int, bool, bool]:
    """(queue, priority, quick, long) of a step's row. `priority`: the run's, where the step has none."""
    own = plan.step(step)
    own_priority = priority if own.priority is None else own.priority
    return own.queue or plan.queue, own_priority, is_pure(plan, step), is_long(plan, step)


@dataclass(frozen=True, slots=True)
class Line:
    """Where in line rows go that become ready at `now`: see runs/rank.py."""

    flow_id: int
    priority: int
    now: float

    def times(self, traits: tuple[str, int, bool, bool], at: float, held: bool) -> tuple[float | None, ...]:
        """(rank, wake_at, held_at) of a row wanted at `at`: ranked where it is ready now."""
        if held:
            return None, None, at
        return (ranks.rank_of(self.flow_id, *traits[:2], self.now) if at <= self.now else None), at, None


def is_timed(plan: Plan, step: str) -> bool:
    """Has the step timers of its own beside its place in the queue?"""
    if step == "":
        return False
    s = plan.step(step)
    return s.deadline is not None or s.sla is not None or s.stall_after is not None


def write(
    batch: Writer, plan: Plan, state: State, decisions: Sequence[Decision], hold: Hold | None, line: Line
) -> tuple[bool, dict[Key, Claim]]:
    """Bring the queue in line. Gives whether there is work for others now, and {step taken: its row}.

    The rows of steps taken are complete once the batch is flushed.
    """
    commands = [c for d in decisions for c in d.commands]
    taken: dict[Key, Claim] = {}
    if state.ended:
        if hold is not None:
            batch.many(sql.LET_GO, [[row.id, hold.owner, row.fence] for row in hold.rows], still_mine)
        batch.run(sql.DELETE_RUN, [state.run_id])
        return False, taken
    wanted = _wanted(commands)
    waited = {(c.step, c.item) for c in commands if isinstance(c, cmd.CloseWait)}
    waited |= {key for key in wanted if is_timed(plan, key[0])}  # more rows than the one held
    left = _place(batch, plan, line, hold, wanted, waited, taken) if hold is not None else []
    kept = _kept(state, wanted, hold, line.now)
    _write_wanted(batch, plan, state, wanted, line, kept)
    _write_timers(batch, plan, state, commands)
    if hold is not None:
        _take(batch, plan, line, state, hold, left, taken)
    released = False
    for c in commands:
        if isinstance(c, cmd.HoldWork):
            batch.run(_HOLD, [state.run_id])
        elif isinstance(c, cmd.ReleaseWork):
            batch.run(_RELEASE, [state.run_id])
            released = True
    return released or any(at is not None for key, at in wanted.items() if key not in kept), taken


def _write_timers(batch: Writer, plan: Plan, state: State, commands: Sequence[cmd.Command]) -> None:
    """What was set and not cleared since, by name or with its step."""
    timers: dict[tuple[str, int, str], float | None] = {}
    for c in commands:
        if isinstance(c, cmd.SetTimer):
            timers[c.step, c.item, c.name] = c.at
        elif isinstance(c, cmd.ClearTimer):
            timers[c.step, c.item, c.name] = None
        elif isinstance(c, cmd.Dequeue):
            timers = {key: at for key, at in timers.items() if key[:2] != (c.step, c.item)}
    held = state.paused is not None
    batch.many(sql.NO_TIMER, [[state.run_id, *key] for key, at in timers.items() if at is None])
    due = [(key, at) for key, at in timers.items() if at is not None]
    rows = [[state.run_id, *key, queue_of(plan, key[0]), None if held else at, at if held else None] for key, at in due]
    batch.many(sql.TIMER, rows)


def _wanted(commands: Sequence[cmd.Command]) -> dict[Key, float | None]:
    """{step run: when it is due, or None where it has no business in the queue}; the last command counts."""
    wanted: dict[Key, float | None] = {}
    for c in commands:
        if isinstance(c, cmd.Enqueue):
            wanted[c.step, c.item] = c.at
        elif isinstance(c, cmd.Dequeue):
            wanted[c.step, c.item] = None
    return wanted


def _place(
    batch: Writer,
    plan: Plan,
    line: Line,
    hold: Hold,
    wanted: dict[Key, float | None],
    waited: set[Key],
    taken: dict[Key, Claim],
) -> list[Take]:
    """Reuse the rows held for steps taken where that needs one statement; else give them up. Gives what is left.

    `waited`: steps that may have two rows, a wake-up and a timer; the one that is not held goes, too.
    """
    takes = {take.key: take for take in hold.takes}
    written: dict[str, list[list[Any]]] = {sql.EXTEND: [], sql.MOVE: [], sql.LET_GO: []}
    for key in takes:
        wanted.pop(key, None)
    for row in hold.rows:
        mine: Key = (row.step, row.item)
        held = [row.id, hold.owner, row.fence]
        own = takes.get(mine) if row.kind == "step" else None
        fresh = next((t for t in hold.takes if t.fresh and t.key not in taken), None)
        if own is not None:
            written[sql.EXTEND].append([own.until, *held])
            taken[mine] = row
        elif fresh is not None and wanted.get(mine) is None:
            if mine not in waited:
                wanted.pop(mine, None)
            own_traits = traits(plan, fresh.key[0], line.priority)
            written[sql.MOVE].append([*fresh.key, *own_traits, fresh.until, *held])
            taken[fresh.key] = replace(row, kind="step", step=fresh.key[0], item=fresh.key[1], name="")
        else:
            written[sql.LET_GO].append(held)
            if mine not in waited and wanted.get(mine, 0.0) is None:
                del wanted[mine]
    for statement, rows in written.items():
        batch.many(statement, rows, still_mine)
    return [take for take in hold.takes if take.key not in taken]


def _take(
    batch: Writer, plan: Plan, line: Line, state: State, hold: Hold, takes: Sequence[Take], taken: dict[Key, Claim]
) -> None:
    def note(rows: Sequence[Row]) -> None:
        for step, item, id_, fence in rows:
            taken[step, item] = Claim(id_, "step", state.run_id, step, item, "", fence)

    def note_all(rows: Sequence[Row]) -> None:
        note(rows)
        missing = next((take.key for take in takes if not take.fresh and take.key not in taken), None)
        if missing is not None:
            raise Taken(missing)

    fresh = [
        [state.run_id, *take.key, *traits(plan, take.key[0], line.priority), take.until, hold.owner]
        for take in takes
        if take.fresh
    ]
    batch.each(sql.LEASED, fresh, note)
    others = [[hold.owner, take.until, state.run_id, *take.key] for take in takes if not take.fresh]
    batch.each(sql.TAKE, others, note_all)


def still_mine(count: int, row: Row | None) -> None:
    """A check of rows held: raises Fenced."""
    if count != 1:
        raise Fenced


def _kept(state: State, wanted: dict[Key, float | None], hold: Hold | None, now: float) -> set[Key]:
    """What is ready, and left to the worker that goes on with such steps."""
    if hold is None or not hold.keeps or state.paused is not None:
        return set()
    return {key for key, at in wanted.items() if at is not None and at <= now and key[0] in hold.keeps}


def _write_wanted(
    batch: Writer, plan: Plan, state: State, wanted: dict[Key, float | None], line: Line, kept: set[Key]
) -> None:
    held = state.paused is not None
    alone = line.now + min(ALONE_MAX, ALONE + len(kept) * ALONE_A_ROW)
    deletes = [[state.run_id, *key] for key, at in wanted.items() if at is None]
    inserts: list[list[Any]] = []
    for key, at in wanted.items():
        if at is not None:
            own = traits(plan, key[0], line.priority)
            times = (None, alone, None) if key in kept else line.times(own, at, held)
            inserts.append([state.run_id, *key, *own, *times])
    batch.many(sql.DELETE, deletes)
    batch.many(sql.QUEUED, inserts)
