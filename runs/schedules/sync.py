"""A release went live: its schedules are the flow's from now on. Runs in the transaction that made it live."""

from __future__ import annotations

from typing import Any, Final

from flows.definition.models import ScheduleTrigger
from flows.definition.plan import Plan
from flows.models import Flow
from runs import clock
from runs.schedules import book
from runs.schedules.models import Schedule, ScheduledTime

GONE: Final = "The schedule is no longer in the live release."


def on_live_changed(*, flow: Flow, plan: Plan, **_: Any) -> None:
    """Receiver of flows.signals.live_changed."""
    now = clock.now()
    wanted = {t.name: _model(t.name, t.config) for t in plan.triggers if t.kind == "schedule"}
    known = {row.name: row for row in Schedule.objects.select_for_update().filter(flow=flow).order_by("pk")}
    for name, model in wanted.items():
        _bring(known.get(name) or Schedule(flow=flow, name=name), model, now)
    for name, row in known.items():
        if name not in wanted and row.retired_at is None:
            _retire(row, now)


def on_run_reopened(*, run_id: str, flow_id: int, trigger: Any, **_: Any) -> None:
    """Receiver of runs.signals.run_reopened: a run of a schedule goes again, and counts as running."""
    if isinstance(trigger, dict) and trigger.get("kind") == "schedule":
        schedules = Schedule.objects.filter(flow_id=flow_id, name=trigger.get("name", ""))
        ScheduledTime.objects.filter(schedule__in=schedules, run_id=run_id).update(open=True)


def _model(name: str, config: Any) -> ScheduleTrigger:
    return ScheduleTrigger.model_validate({**config, "name": name})


def _bring(row: Schedule, model: ScheduleTrigger, now: float) -> None:
    """A schedule that is new, or came back, or means other times, begins from now; another goes on where it was."""
    new = row._state.adding or row.retired_at is not None
    begins = new or (row.cron, row.timezone) != (model.cron, model.timezone)
    row.cron, row.timezone, row.overlap = model.cron, model.timezone, model.overlap
    row.catchup, row.jitter = model.catchup, model.jitter
    row.pause_on_failure, row.purpose = model.failures_allowed, model.note
    timing = book.timing_of(row)
    if begins:
        row.due_at, row.failures, row.problem, row.retired_at = timing.next(now), 0, "", None
    awake = row.paused_at is None and row.due_at is not None
    row.wake_at = timing.wake(row.due_at) if awake and row.due_at is not None else None
    row.save()


def _retire(row: Schedule, now: float) -> None:
    book.drop(row.times.all(), now, GONE)
    row.retired_at, row.wake_at, row.due_at, row.waiting = now, None, None, 0
    row.save(update_fields=["retired_at", "wake_at", "due_at", "waiting"])
