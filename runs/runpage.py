"""Rows -> what the page of one run shows, with a fixed number of queries."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from flows.definition.plan import Plan, StepPlan
from flows.definition.routing import FAMILY as ROUTE
from resources.access import Actor, can
from resources.errors import NotFound
from resources.notices import deliveries
from runs import children, dag, filters, line, looks, notes, timeline, times, usage
from runs.about import about
from runs.held import held_back
from runs.hidden import hide
from runs.models import NO_ITEM, Run, RunEvent, StepRun
from runs.pages import plan_of, step_looks, trigger_of
from runs.recoverpage import recover
from runs.resolved import resolved_action
from runs.sensitive import reveal
from runs.sensitive.rows import of_run
from runs.sensitive.veil import Veil
from runs.sent_api import veiled
from runs.sentences import sentence
from runs.waiting import waiting

LOG = 300  # events shown; the timeline reads TIMELINE of them
TIMELINE = 5000
TABS = ("input", "output", "attempts", "events")


def find_run(actor: Actor, run_id: str) -> Run:
    """Raises NotFound for a run that is not there or that the actor may not view: the two look the same."""
    rows = filters.visible(actor).annotate(human=filters.on_human())
    run = rows.select_related("flow", "release", "starter").defer("release__source").filter(pk=run_id).first()
    if run is None:
        raise NotFound("There is no such run, or you may not see it.")
    return run


def run_page(actor: Actor, run: Run, *, step: str, tab: str, after: int, now: float) -> dict[str, Any]:
    """The whole page. `step`: the one inspected ("" chooses); `after`: events newer than this number only."""
    plan = plan_of(run.release)
    rows = {s.step: s for s in StepRun.objects.filter(run=run, item=NO_ITEM)}
    items = StepRun.objects.filter(run=run, item__gte=0).values_list("step", "status").annotate(n=Count("pk"))
    events = list(RunEvent.objects.filter(run=run).order_by("seq")[:TIMELINE])
    veil = of_run(run)
    for event in events:
        event.data = veil.told(event.step, event.item, event.data)
    state = step_looks(run, {s: r.status for s, r in rows.items()})
    chosen = step if step in state else _telling(state)
    steps = [{"id": s, "state": look[0], "word": look[1], "selected": s == chosen} for s, look in state.items()]
    start = run.started_at or run.created_at
    return {
        "run": header(actor, run, veil),
        "map": dag.drawing(plan, state, chosen, taken={s: r.output for s, r in rows.items() if r.output is not None}),
        "timeline": timeline.chart(steps, events, start=start, end=run.ended_at, now=now),
        "start": start,
        "events": [sentence(e) for e in events[-LOG:] if e.seq > after],
        "event_count": run.seq,
        "hidden": max(0, len(events) - LOG),
        "inspect": _inspected(actor, run, veil, plan, rows, state, chosen, events, dict_items(items)) if chosen else {},
        "recover": recover(run, chosen, can(actor, "operator", run.flow.folder), veil),
        "undoes": [s.id for s in plan.steps if s.compensate is not None] if "cancel" in plan.compensate_on else [],
        "hidden_fields": reveal.fields_of(run, veil) if can(actor, "revealer", run.flow.folder) else [],
        "wait": waiting(run, plan, rows.get(chosen), operates=can(actor, "operator", run.flow.folder)),
        "tab": tab if tab in TABS else _first_tab(rows.get(chosen), state.get(chosen), plan, chosen),
        "now": now,
    }


def header(actor: Actor, run: Run, veil: Veil) -> dict[str, Any]:
    """Facts and what may be done about it; `can_*` None hides a control, else it is "" or why not."""
    state, label = looks.of_run(run.status, bool(run.human))  # type: ignore[attr-defined]
    operates = can(actor, "operator", run.flow.folder)
    return {
        "id": run.id,
        "title": run.flow.title or run.flow.slug,
        "about": veil.text(about(run.input, plan_of(run.release).input_schema)),
        "flow": run.flow.slug,
        "version": run.release.version,
        "state": state,
        "label": label,
        "status": run.status,
        "degraded": run.degraded,
        "ended": run.ended,
        "dead": run.dead_at is not None,
        "trigger": trigger_of(run),
        "starter": run.starter,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "error": veil.told("", NO_ITEM, {"error": run.error})["error"],
        "output": veil.tree(run.output),
        "input": veil.input(run.input),
        "operates": operates,
        "why_not": why_not(run, operates),
        "priority": run.priority,
        "queued": _queued(run, veil),
        "parent": run.parent_id,
        "ending": veil.words(run.control.get("ending") or {}),
        "pausable": run.status in ("running", "waiting", "compensating"),
        "resumable": run.status in ("pausing", "paused"),
        "late": times.is_late(run),
        "usage": usage.totals(run.pk) if any(s.family == "llm" for s in plan_of(run.release).steps) else None,
        "deadline": times.deadline_of(run, plan_of(run.release)),
    }


def _queued(run: Run, veil: Veil) -> dict[str, Any] | None:
    """The concurrency key may be made of what is sensitive."""
    found = line.of_run(run)
    return found and {**found, "sentence": veil.text(found["sentence"]), "key": veil.text(found["key"])}


def why_not(run: Run, operates: bool) -> str:
    """Why this person cannot steer this run now, or ""."""
    if run.ended:
        return "The run has ended."
    if not operates:
        return "This needs the operator role on the flow's folder."
    return "The run is coming to its end already." if run.control.get("ending") or run.control.get("cancel") else ""


def _telling(state: dict[str, looks.Look]) -> str:
    """The step people most likely came for: one that failed, waits, runs; else the last that was reached."""
    for wanted in ("failed", "dead", "human", "running", "waiting"):
        found = [s for s, look in state.items() if look[0] == wanted]
        if found:
            return found[0]
    reached = [s for s, look in state.items() if look[0] not in ("queued", "skipped")]
    return reached[-1] if reached else next(iter(state), "")


def _first_tab(row: StepRun | None, look: looks.Look | None, plan: Plan, chosen: str) -> str:
    if chosen and plan.step(chosen).family == ROUTE:
        return "input"  # its table, with the rule it took
    if look is not None and look[0] in ("failed", "dead"):
        return "attempts"
    return "output" if _tried(row) else "input"


def _tried(row: StepRun | None) -> bool:
    return row is not None and row.output is not None


def dict_items(rows: Any) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for step, status, n in rows:
        found.setdefault(step, {})[status] = n
    return found


def _inspected(actor: Actor, run: Run, veil: Veil, *rest: Any) -> dict[str, Any]:
    """The inspector, for somebody who may only look without the addresses that answer waits."""
    found = inspect(run, veil, *rest)
    if not can(actor, "operator", run.flow.folder):
        found |= {name: hide(found[name]) for name in ("action", "output", "error", "live", "attempts")}
    return found


def inspect(
    run: Run,
    veil: Veil,
    plan: Plan,
    rows: dict[str, StepRun],
    state: dict[str, looks.Look],
    chosen: str,
    events: list[RunEvent],
    items: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """The inspector of one step: what went in, what came out, its attempts, its events."""
    step, row = plan.step(chosen), rows.get(chosen)
    mine = [e for e in events if e.step == chosen]
    kept: dict[str, Any] = veil.told(chosen, NO_ITEM, row.state) if row else {}
    live = veil.live(chosen, times.live_of(row))
    return {
        **_declared(plan, step, row, kept),
        **_outcome(veil, chosen, row, kept),
        "state": state[chosen][0],
        "label": state[chosen][1],
        "live": live,
        "action": veil.action(chosen, resolved_action(run, plan, rows, chosen)),
        "children": children.of_step(run.pk, chosen) if step.family == "call" else [],
        "sent": [veiled(row, veil) for row in deliveries.of_run(run.pk, chosen)] if step.family == "notify" else [],
        "attempts": attempts_of(mine, live),
        "held": held_back([run.pk]).get(run.pk, {}).get(chosen) if not run.ended else None,
        "items": [
            {"state": looks.of_step(s)[0], "label": looks.of_step(s)[1], "n": n}
            for s, n in items.get(chosen, {}).items()
        ],
        "events": [sentence(e) for e in mine[-100:]],
    }


def _declared(plan: Plan, step: StepPlan, row: StepRun | None, kept: dict[str, Any]) -> dict[str, Any]:
    """What the flow says of the step, and its neighbours in it."""
    order = [s.id for s in plan.steps]
    at = order.index(step.id)
    return {
        "id": step.id,
        "family": step.family,
        "irreversible": step.irreversible,
        "protected_by": step.protected_by,
        "policy": retry_policy(step),
        "times": times.of_step(step, row),
        "rules": notes.rules_in_words(step),
        "notes": notes.of_step(step, row.status if row else "", kept),
        "table": notes.table_of(step, row.output if row else None),
        "written": step.config,
        "previous": order[at - 1] if at else "",
        "next": order[at + 1] if at + 1 < len(order) else "",
    }


def _outcome(veil: Veil, chosen: str, row: StepRun | None, kept: dict[str, Any]) -> dict[str, Any]:
    """What came of it so far."""
    return {
        "digest": kept.get("digest") or "",
        "output": veil.output(chosen, row.output) if row else None,
        "has_output": _tried(row),
        "error": kept.get("error"),
        "started_at": row.started_at if row else None,
        "ended_at": row.ended_at if row else None,
    }


def retry_policy(step: StepPlan) -> str:
    if step.retry.max_attempts <= 1:
        return f"One attempt of at most {step.timeout:g}s."
    return f"Up to {step.retry.max_attempts} attempts of at most {step.timeout:g}s each."


def attempts_of(events: list[RunEvent], live: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Newest first: {n, state, label, start, end, error, log, …}. Items of a fan-out are counted, not listed.

    `live`: of the one that runs now, see times.live_of.
    """
    found: list[dict[str, Any]] = []
    for event in events:
        if event.item >= 0:
            continue
        if event.type == "step.started":
            found.append(
                {
                    "n": event.data.get("attempt", len(found) + 1),
                    "state": "running",
                    "label": "Running",
                    "start": event.at,
                    "end": None,
                    "error": None,
                    "log": [],
                    "worker": event.data.get("worker", ""),
                    "pass": event.data.get("pass", 1),
                }
            )
        elif found and event.type == "step.log":
            found[-1]["log"] += event.data.get("lines", ())
        elif found and found[-1]["end"] is None and event.type in _ENDS:
            found[-1].update(end=event.at, error=event.data.get("error"), **_ENDS[event.type])
    if found and live and found[-1]["end"] is None:
        found[-1]["log"] = live["log"]
    return found[::-1]


_ENDS: dict[str, dict[str, str]] = {
    "step.succeeded": {"state": "succeeded", "label": "Succeeded"},
    "step.retrying": {"state": "failed", "label": "Failed"},
    "step.failed": {"state": "failed", "label": "Failed"},
    "step.attempt_failed": {"state": "failed", "label": "Failed"},
    "step.round": {"state": "succeeded", "label": "Not yet"},
    "step.lost": {"state": "failed", "label": "Worker lost"},
    "step.handed_back": {"state": "cancelled", "label": "Handed back"},
    "step.unknown": {"state": "dead", "label": "Outcome unknown"},
    "step.waiting": {"state": "succeeded", "label": "Asked and waits"},
    "step.cancelled": {"state": "cancelled", "label": "Cancelled"},
    "step.discarded": {"state": "cancelled", "label": "Came too late"},
    "step.checked": {"state": "succeeded", "label": "Asked"},
    "step.loaded": {"state": "succeeded", "label": "Read its items"},
}
