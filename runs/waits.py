"""Waits in the database. The token's row is locked by whoever opens the wait and by whoever answers it, so that a
signal is never lost between the two (rule 7 of the design). The run's row is always locked before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connection

from flows.definition.plan import Plan
from runs import children, signals, tokens
from runs.engine import turn as cmd
from runs.engine.state import State
from runs.jobs import waits as jobs
from runs.models import WaitToken, Work
from runs.named import matching
from runs.queue_rows import Line, queue_of, traits
from runs.races import Stale

if TYPE_CHECKING:
    from runs.store import Loaded

Json = Any
_WAKE = """
INSERT INTO runs_work (kind, run_id, step, item, name, queue, priority, long, rank, wake_at, held_at, owner, fence)
VALUES (%s, %s, %s, %s, %s, %s, %s, false, %s, %s, %s, NULL, 0)
ON CONFLICT (run_id, step, item, kind, name) DO UPDATE SET
   priority = excluded.priority, rank = excluded.rank, wake_at = excluded.wake_at, held_at = excluded.held_at,
   owner = NULL
"""


def token_of(plan: Plan, run_id: str, step: str, item: int, pass_no: int) -> str:
    index = next(i for i, s in enumerate(plan.steps) if s.id == step)
    return tokens.make(run_id, index, item, pass_no)


def wake(
    plan: Plan,
    run_id: str,
    step: str,
    item: int,
    at: float,
    *,
    kind: str = Work.Kind.STEP,
    name: str = "",
    held: bool,
    line: Line | None = None,
) -> None:
    """Have a worker of the step's queue look at a waiting step at `at`; `held`: only once its run is resumed.

    `line`: of what is ready at once, its place; without, it goes by its time.
    """
    queue, priority = queue_of(plan, step), 0
    times: tuple[float | None, ...] = (None, None, at) if held else (None, at, None)
    if line is not None:
        own = traits(plan, step, line.priority)
        priority, times = own[1], line.times(own, at, held)
    with connection.cursor() as cursor:
        cursor.execute(_WAKE, [kind, run_id, step, item, name, queue, priority, *times])


def carry_out(loaded: Loaded, state: State, commands: Sequence[cmd.Command], now: float) -> bool:
    """Open and close the waits of a decision, inside its transaction. True when an early answer is there already."""
    early = False
    for c in commands:
        if isinstance(c, cmd.OpenWait):
            early |= _open(loaded, state, c, now)
        elif isinstance(c, cmd.CloseWait):
            _close(loaded, c, now)
    return early


def _open(loaded: Loaded, state: State, c: cmd.OpenWait, now: float) -> bool:
    held = state.paused is not None
    if c.until is not None:
        wake(loaded.plan, state.run_id, c.step, c.item, c.until, kind=Work.Kind.TIMER, name="wait", held=held)
    if c.kind == "timer":
        return False
    token = token_of(loaded.plan, state.run_id, c.step, c.item, c.pass_no)
    row = lock_token(token, state.run_id, c.step, c.item, c.pass_no, c.kind)
    early = row.status == WaitToken.Status.EARLY and row.answered_at is not None
    row.status = WaitToken.Status.ANSWERED if early else WaitToken.Status.OPEN
    row.expires_at = c.until
    row.save(update_fields=["status", "expires_at"])
    if c.kind == children.KIND:
        early = children.begin(loaded, row, c.spec, now)
    elif c.kind == jobs.KIND:
        jobs.begin(loaded, row, c, now)
    line = Line(loaded.flow_id, loaded.priority, now)
    if early:
        wake(loaded.plan, state.run_id, c.step, c.item, now, held=held, line=line)
    elif c.kind in matching.KINDS and matching.begin(loaded, c, now):
        early = True
        wake(
            loaded.plan, state.run_id, c.step, c.item, now, kind=Work.Kind.TIMER, name=matching.TIMER, held=held,
            line=line,
        )  # fmt: skip
    signals.wait_opened.send(
        sender=None, run_id=state.run_id, step=c.step, item=c.item, pass_no=c.pass_no, token=token, kind=c.kind,
        spec=dict(c.spec), expires_at=c.until, now=now,
    )  # fmt: skip
    return early


def lock_token(token: str, run_id: str, step: str, item: int, pass_no: int, kind: str) -> WaitToken:
    """The token's row, locked; made (as early) where nobody met it before."""
    fresh = WaitToken(
        token=token, run_id=run_id, step=step, item=item, pass_no=pass_no, kind=kind, status=WaitToken.Status.EARLY
    )
    WaitToken.objects.bulk_create([fresh], ignore_conflicts=True)
    return WaitToken.objects.select_for_update().get(token=token)


def _close(loaded: Loaded, c: cmd.CloseWait, now: float) -> None:
    token = token_of(loaded.plan, loaded.state.run_id, c.step, c.item, c.pass_no)
    wait = loaded.state.step(c.step, c.item).wait or {}
    if wait.get("kind") == children.KIND:
        children.let_go(token, c.reason, wait["spec"], now)
    if wait.get("kind") == jobs.KIND:
        jobs.let_go(token, loaded.state.step(c.step, c.item).attempt, c.reason, now)
    if wait.get("kind") in matching.KINDS:
        matching.end(loaded.state.run_id, c.step, c.item)
    if c.used is not None:
        matching.use(loaded.state.run_id, c.used)
    if c.reason != "answered" or c.used is not None:
        still_open = WaitToken.objects.filter(token=token, status=WaitToken.Status.OPEN)
        if not still_open.update(status=WaitToken.Status.CLOSED) and (c.reason == "expired" or c.used is not None):
            raise Stale  # answered since we looked, in time: the answer stands
    signals.wait_closed.send(sender=None, token=token, reason=c.reason, now=now)


def answer_of(loaded: Loaded, step: str, item: int, pass_no: int) -> Mapping[str, Json] | None:
    """{"payload": …} when the wait of this pass was answered, with the row of the named event as "used"; else None.

    Outside transactions. Raises Stale.
    """
    token = token_of(loaded.plan, loaded.state.run_id, step, item, pass_no)
    waiting = loaded.state.step(step, item)
    kind = (waiting.wait or {}).get("kind")
    if kind == children.KIND:
        return children.answer_of(token)
    if kind == jobs.KIND:
        return jobs.answer_of(token, waiting.attempt)
    row = WaitToken.objects.filter(token=token, status=WaitToken.Status.ANSWERED).only("answer").first()
    if row is not None:  # whoever called was told that it counts: no event comes before it
        return {"payload": row.answer}
    found = matching.find(loaded, waiting) if kind in matching.KINDS else None
    return None if found is None else {"payload": found.payload, "used": found.used}
