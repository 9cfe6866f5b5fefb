"""What pages and the API show of times: deadlines, missed alerts, rounds, the progress of a running attempt."""

from __future__ import annotations

from typing import Any

from flows.definition.plan import Plan, StepPlan
from runs.engine import timing
from runs.engine.state import State
from runs.models import Run, StepRun


def is_late(run: Run) -> bool:
    """Its sla was missed."""
    return "late" in (run.control.get("times") or {})


def deadline_of(run: Run, plan: Plan) -> float | None:
    """When its time is over, epoch seconds; None once it has ended."""
    if run.ended:
        return None
    state = State(
        run.pk, created_at=run.created_at, started_at=run.started_at, times=run.control.get("times"), status=run.status
    )
    return timing.run_ends_at(plan, state)


def span(seconds: float) -> str:
    """As it may have been written: `90 s`, `30 min`, `6 h`, `2 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def of_step(plan: StepPlan, row: StepRun | None) -> list[str]:
    """One sentence for each time the step has."""
    kept: dict[str, Any] = row.state if row else {}
    said = []
    if plan.deadline is not None:
        said.append(f"{span(plan.deadline)} in all.")
    if plan.sla is not None:
        said.append(
            f"Its sla of {span(plan.sla)} was missed." if kept.get("late") else f"An alert after {span(plan.sla)}."
        )
    if plan.stall_after is not None:
        said.append(f"Stopped after {span(plan.stall_after)} without progress.")
    if plan.until is not None:
        rounds = int(kept.get("round_no", 0))
        said.append(
            f"Asks every {span(plan.until.every)}; {rounds} of {plan.until.max_rounds} rounds were not enough yet."
        )
    if plan.handler:
        said.append("Runs only when a missed time calls it.")
    return said


def live_of(row: StepRun | None) -> dict[str, Any] | None:
    """{progress: {message, percent or None, at} or None, tail, log} of the attempt that runs now."""
    live = row.live if row is not None and row.status in ("running", "waiting") else None
    if live and row is not None and row.status == "waiting" and "job" not in live:
        live = None  # what was said before it began to wait
    if not live or row is None or live.get("attempt") != row.attempt or not {"progress", "tail", "log"} & set(live):
        return None
    progress = {"percent": None, **live["progress"]} if "progress" in live else None
    return {"progress": progress, "tail": live.get("tail", ""), "log": live.get("log", [])}
