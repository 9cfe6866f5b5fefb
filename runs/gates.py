"""What keeps a new run from beginning: its flow is paused, its release drains older ones, its key has no free place.

A start reads the flow's gate without a lock where it is open or was never closed. Where it is closed, the start shares
the gate's lock and looks again: whoever opens it waits for such starts, and then sees the runs they left in line.
Lock order: the gate, then the key's counter; a run's lock never comes after either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from flows.definition.plan import Concurrency, Plan
from resources.errors import Conflict, TooMany
from runs import clock, limits
from runs.dead.refusing import refuse_quarantined
from runs.models import FlowGate, LimitKey, Run

Json = Any

#: holders of a key that are named where a place is refused
MAX_NAMED: Final = 20
#: seconds a refused caller is asked to wait, at most
MAX_RETRY_AFTER: Final = 60


class Skipped(Exception):
    """`on_conflict: skip`: nothing is started; its argument is the id of a run that holds the place."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One row of FlowGate. `draining`: id of the release whose runs (and those of newer ones) wait.

    Whatever may keep a start from beginning is asked in runs/beginnings.py, too.
    """

    mode: str = ""
    reason: str = ""
    actor: str = ""
    draining: int | None = None
    quarantined: int = 0

    def holds(self, release_id: int) -> bool:
        """Does a run of this release wait before the gate?"""
        return self.mode != "" or (self.draining is not None and release_id >= self.draining)


OPEN: Final = Gate()
_READ = "SELECT mode, reason, actor, draining, quarantined FROM runs_flowgate WHERE flow_id = %s"


def read(flow_id: int, *, shared: bool = False) -> Gate:
    """The flow's gate; `shared`: it stays as it is for the rest of the caller's transaction."""
    suffix = " FOR SHARE" if shared and connection.vendor == "postgresql" else ""  # SQLite: the transaction is the lock
    with connection.cursor() as cursor:
        cursor.execute(_READ + suffix, [flow_id])
        row = cursor.fetchone()
    return OPEN if row is None else Gate(*row)


def lock(flow_id: int) -> FlowGate:
    """The flow's gate, locked for the rest of the caller's transaction; made where it is new."""
    FlowGate.objects.bulk_create([FlowGate(flow_id=flow_id)], ignore_conflicts=True)
    return FlowGate.objects.select_for_update().get(flow_id=flow_id)


def enter(run: Run, plan: Plan, label: str, parents: tuple[str, ...] = ()) -> None:
    """Decide `run.placed` of a run that is about to be inserted, in the transaction that inserts it.

    `label`: its concurrency key as text; `parents`: ids of the runs above it. Raises TooMany `max_queued`, Conflict
    `quarantined` | `flow_paused` | `key_taken` | `deadlock`, and Skipped.
    """
    if plan.max_queued is not None:
        lock(run.flow_id)  # counted one start at a time
        _check_queued(run.flow_id, plan.max_queued)
    gate = read(run.flow_id)
    if gate.quarantined:
        refuse_quarantined(run.flow_id, run.input)
    if gate.holds(run.release_id):
        gate = read(run.flow_id, shared=True)
    if gate.mode == FlowGate.Mode.REFUSE:
        raise _paused(gate)
    run.placed = not gate.holds(run.release_id)
    if plan.concurrency is not None:
        counter = limits.lock(run.flow_id, run.limit_key, label)
        run.placed = _place(run, plan.concurrency, counter, may_begin=run.placed, parents=parents)


def _paused(gate: Gate) -> Conflict:
    said = f"{gate.actor or 'Somebody'} paused this flow and new runs are refused"
    return Conflict(
        f"{said}: {gate.reason}" if gate.reason else f"{said}.",
        code="flow_paused",
        hint="Start it again once the flow is resumed.",
        details={"reason": gate.reason, "actor": gate.actor},
    )


def _check_queued(flow_id: int, most: int) -> None:
    """Raises TooMany where as many runs wait to begin as may. Reads `most` index entries at the worst."""
    queued = Run.objects.filter(flow_id=flow_id, status="queued")
    count = len(queued.values_list("pk")[:most])
    if count < most:
        return
    oldest = queued.order_by("created_at").values_list("created_at", flat=True).first()
    raise TooMany(
        f"{count} runs of this flow wait to begin, and it allows {most}.",
        code="max_queued",
        hint="Try again later.",
        details={"queued": count, "retry_after": retry_after(count, clock.now() - (oldest or 0.0))},
    )


def retry_after(queued: int, age: float) -> int:
    """Seconds until a place in the line is free, going by how long the oldest of `queued` has waited. Pure."""
    return min(MAX_RETRY_AFTER, max(1, round(age / max(1, queued))))


def _place(run: Run, rule: Concurrency, counter: LimitKey, *, may_begin: bool, parents: tuple[str, ...]) -> bool:
    """Take a place of the key, or say what the flow wants where there is none."""
    waiting = limits.waiting(run.flow_id, run.limit_key, rule.limit)
    full = counter.active + len(waiting) >= rule.limit
    if full and rule.on_conflict in ("skip", "fail"):
        _refuse(run, rule, counter)
    # nobody overtakes runs that wait, not even while a place is free for them
    if may_begin and waiting:
        limits.admit_later(waiting[0], clock.now())
    if may_begin and not waiting and limits.take(counter, rule.limit):
        return True
    if parents and limits.would_deadlock(run.limit_key, parents):
        raise Conflict(
            f"A run above this one holds the concurrency key {counter.label!r}: each would wait for the other.",
            code="deadlock",
            hint="Give the child a key of its own, or raise the limit.",
            details={"class": "deadlock", "runs": limits.holders(run.flow_id, run.limit_key)[:MAX_NAMED]},
        )
    return False


def _refuse(run: Run, rule: Concurrency, counter: LimitKey) -> None:
    held = limits.holders(run.flow_id, run.limit_key)[:MAX_NAMED] or limits.waiting(run.flow_id, run.limit_key, 1)
    if rule.on_conflict == "skip":
        raise Skipped(held[0])
    raise Conflict(
        f"The concurrency key {counter.label!r} has no free place: {rule.limit} at a time.",
        code="key_taken",
        hint="Wait for the run that holds it, or cancel that one.",
        details={"key": counter.label, "limit": rule.limit, "runs": held},
    )
