"""Rows -> what the list of runs shows, with a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast, Length

from flows.definition.plan import Plan
from flows.models import Flow, Release
from resources.access import Actor, folder_filter, folders_for
from runs import charts, filters, looks, tallies
from runs.about import about
from runs.filters import Asked
from runs.models import NO_ITEM, Run, StepRun
from runs.sensitive.rows import of_runs
from runs.sensitive.veil import Veil

BUCKETS = 72
#: what can be asked of many runs at once
CONTROLS = (
    ("retry", "Retry their failed steps"), ("replay", "Replay them as new runs"), ("pause", "Pause them"),
    ("resume", "Resume them"), ("cancel", "Cancel them"), ("terminate", "Terminate them"),
)  # fmt: skip
SMALL_INPUT = 4096  # characters of JSON
_TRIGGER_ICONS = {"webhook": "webhook", "schedule": "calendar", "event": "mail", "api": "terminal", "manual": "user"}


def plan_of(release: Release) -> Plan:
    """A release never changes, so its plan is read once a process."""
    return _plan(release.pk, release.checksum)


@lru_cache(maxsize=256)
def _plan(pk: int, checksum: str) -> Plan:
    return Release.objects.only("plan_json").get(pk=pk).plan


def run_list(actor: Actor, asked: Asked, now: float) -> dict[str, Any]:
    """The whole page: outcomes, chips, rows, cursors."""
    everything = filters.visible(actor)
    span = filters.RANGES[asked.range]
    tally = tallies.in_scope(everything, asked, now, BUCKETS)
    on_people = tallies.on_people(filters.in_scope(everything, asked, now))
    flows = Flow.objects.filter(folder_filter(actor, "viewer")).order_by("slug").values_list("slug", "title")
    return {
        **run_rows(actor, asked, now),
        "asked": asked,
        "chart": charts.histogram(tallies.outcomes(tally), BUCKETS),
        "axis": _axis(now - span, span),
        "chips": _chips(asked, tallies.of_chips(tally, on_people)),
        "ranges": [{"name": r, "link": asked.link(range=r), "on": r == asked.range} for r in filters.RANGES],
        "flows": list(flows[:500]),
        "triggers": filters.TRIGGERS.items(),
        "now": now,
    }


def run_rows(actor: Actor, asked: Asked, now: float) -> dict[str, Any]:
    """The table alone: what a live refresh asks for."""
    scope = filters.with_status(filters.in_scope(filters.visible(actor), asked, now), asked.status)
    page = filters.page_of(scope, asked)
    more, page = len(page) > filters.PAGE, page[: filters.PAGE]
    newest = asked.until or (page[0].id if page else "")
    new = scope.filter(id__gt=asked.until).count() if asked.until and not asked.before else 0
    return {
        "rows": rows_of(page),
        "next": asked.link(before=page[-1].id) if more else "",
        "first": asked.link() if asked.before else "",
        "live_src": asked.link(until=newest or "0", before=asked.before),
        "fresh": asked.link(),
        "wider": asked.link(range="30d"),
        "new": new,
        "newest": newest if asked.until or not asked.before else "",
        "operates": folders_for(actor, "operator") != [],
        "controls": CONTROLS,
        "asked": asked,
        "now": now,
    }


def rows_of(page: list[Run]) -> list[dict[str, Any]]:
    """View dicts of runs annotated with `human`."""
    statuses: dict[str, dict[str, str]] = {}
    steps = StepRun.objects.filter(run__in=page, item=NO_ITEM).values_list("run_id", "step", "status")
    for run_id, step, status in steps:
        statuses.setdefault(run_id, {})[step] = status
    given, veils = _small_inputs(page), of_runs(page)
    return [_row(run, statuses.get(run.id, {}), given.get(run.id), veils[run.id]) for run in page]


def _small_inputs(page: list[Run]) -> dict[str, Any]:
    """Run id -> input, where it is small: a list never loads megabytes to show a line."""
    size = Length(Cast("input", TextField()))  # of a sealed one somewhat more
    rows = Run.objects.filter(pk__in=[run.pk for run in page]).annotate(size=size).filter(size__lte=SMALL_INPUT)
    return {run.pk: run.input for run in rows.only("pk", "input")}


def _row(run: Run, statuses: dict[str, str], given: Any, veil: Veil) -> dict[str, Any]:
    state, label = looks.of_run(run.status, bool(run.human))  # type: ignore[attr-defined]
    steps = step_looks(run, statuses)
    states = [s for s, _ in steps.values()]
    failed = (run.error or {}).get("step")
    return {
        "id": run.id,
        "title": run.flow.title or run.flow.slug,
        "about": veil.text(about(given, plan_of(run.release).input_schema)),
        "flow": run.flow.slug,
        "version": run.release.version,
        "state": state,
        "label": f"{label} at {failed}" if state == "failed" and failed else label,
        "degraded": run.degraded,
        "strip": charts.strip(states),
        "done": sum(s in ("succeeded", "skipped") for s in states),
        "total": len(states),
        "trigger": trigger_of(run),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


def step_looks(run: Run, statuses: dict[str, str]) -> dict[str, looks.Look]:
    """Step id -> look, in the plan's order."""
    stopped = (run.control.get("ending") or {}).get("to") == "cancelled"
    steps = plan_of(run.release).steps
    return {s.id: looks.of_step(statuses.get(s.id, ""), s.family, run.ended, stopped) for s in steps}


def trigger_of(run: Run) -> dict[str, str]:
    """{icon, text}: a person by name, anything else by the trigger's name."""
    kind = str(run.trigger.get("kind") or ("manual" if run.starter_id else "api"))
    person = run.starter.get_full_name() or run.starter.get_username() if run.starter else ""
    name = str(run.trigger.get("name") or "")
    text = person or name if kind == "manual" else f"{filters.TRIGGERS.get(kind, kind)} {name}".strip()
    return {"icon": _TRIGGER_ICONS.get(kind, "play"), "text": text or "Unknown"}


def _chips(asked: Asked, counts: dict[str, int]) -> list[dict[str, Any]]:
    shown: Iterable[str] = (
        c for c in filters.CHIPS if counts[c] or c == asked.status or c in ("running", "human", "failed")
    )
    chips = [{"state": "", "label": "All", "n": counts[""], "link": asked.link(status=""), "on": not asked.status}]
    for chip in shown:
        label = looks.HUMAN[1] if chip == "human" else chip.capitalize()
        chips.append(
            {
                "state": "paused" if chip == "degraded" else chip,  # its tone
                "icon": "alert" if chip == "degraded" else "",
                "label": label,
                "n": counts[chip],
                "link": asked.link(status=chip),
                "on": chip == asked.status,
            }
        )
    return chips


def _axis(start: float, span: float) -> list[dict[str, Any]]:
    return [{"x": f"{n * 12.5:g}%", "at": start + span * n / 8} for n in range(8)]
