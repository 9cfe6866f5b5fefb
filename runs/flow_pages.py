"""What the pages of a flow show: the list, one flow, its start form. Reads only, a bounded number of queries."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery

from flows import binding_actions, binding_pages
from flows.definition.plan import Plan
from flows.models import Flow, Release
from flows.plans import plan_of
from resources.access import Actor, can, folder_filter
from resources.paging import decode_cursor, encode_cursor
from runs import clock, line
from runs.actions import may_start
from runs.incoming import pages as hook_pages
from runs.looks import of_run
from runs.models import Run
from runs.schedules import pages as schedule_pages

PER_PAGE = 50
LAST = 5  # runs shown beside a flow in the list
RECENT = 10  # runs on a flow's page
RELEASES = 20


def list_page(actor: Actor, search: str, cursor: str) -> dict[str, Any]:
    """Flows by slug, with their last runs: three queries whatever their number."""
    rows = Flow.objects.filter(folder_filter(actor, "viewer")).select_related("live", "draft__updated_by")
    if search:
        rows = rows.filter(Q(slug__icontains=search) | Q(title__icontains=search) | Q(folder__icontains=search))
    if cursor:
        rows = rows.filter(slug__gt=decode_cursor(cursor, str)[0])
    rows = rows.defer("live__source", "live__plan_json", "live__notes", "draft__source").order_by("slug")
    flows = list(_with_last_runs(rows)[: PER_PAGE + 1])
    shown = flows[:PER_PAGE]
    runs = _runs_by_id(shown)
    return {
        "section": "flows",
        "search": search,
        "rows": [_row(flow, runs) for flow in shown],
        "next_cursor": encode_cursor(shown[-1].slug) if len(flows) > PER_PAGE else None,
        "may_create": can_author_somewhere(actor),
    }


def can_author_somewhere(actor: Actor) -> bool:
    return any(held in ("author", "admin") for held, _ in actor.grants())


def flow_page(actor: Actor, flow: Flow) -> dict[str, Any]:
    """One flow: what is live, how it starts, what it did lately, its releases."""
    plan = live_plan_of(flow)
    releases = flow.releases.select_related("released_by").defer("source", "plan_json").order_by("-released_at", "-pk")
    runs = flow.runs.select_related("release", "starter").defer("release__source", "release__plan_json", "trigger")
    return {
        "section": "flows",
        "flow": flow,
        "draft": flow.draft,
        "ahead": is_ahead(flow),
        "plan": plan,
        "steps": list(plan.steps) if plan else [],
        "schedules": schedule_pages.of_flow(actor, flow, clock.now()) if plan else [],
        "triggers": [_trigger(t) for t in plan.triggers if t.kind != "webhook"] if plan else [],
        "hooks": hook_pages.of_flow(flow, plan),
        "startable": startable(actor, flow, plan),
        "why_not": why_not(actor, flow, plan),
        "bound": binding_pages.of_flow(flow),
        "may_bind": any(binding_actions.may_set(actor, flow).values()),
        "gate": line.of_flow(flow),
        "operates": can(actor, "operator", flow.folder),
        "editable": can(actor, "author", flow.folder),
        "labels": dict(plan.labels) if plan else {},
        "runbook_is_link": bool(plan and plan.runbook.startswith(("https://", "http://"))),
        "releases": list(releases[:RELEASES]),
        "runs": [_seen(run) for run in runs.order_by("-created_at", "-id")[:RECENT]],
    }


def live_plan_of(flow: Flow) -> Plan | None:
    return plan_of(flow.live.pk, flow.live.checksum) if flow.live else None


def startable(actor: Actor, flow: Flow, plan: Plan | None) -> bool:
    return not why_not(actor, flow, plan)


def why_not(actor: Actor, flow: Flow, plan: Plan | None) -> str:
    """Why the actor cannot start this flow by hand; empty: it is possible."""
    if plan is None:
        return "Nothing is live yet. Release the draft first."
    if plan.triggers and not any(t.kind == "manual" for t in plan.triggers):
        return "The live release has no manual trigger."
    if not may_start(actor, flow):
        return "Starting a run needs the role author or operator here."
    return ""


def is_ahead(flow: Flow) -> bool:
    """Whether the draft has moved on since the live release was made."""
    return flow.live is None or flow.draft.revision > flow.live.revision


def _trigger(trigger: Any) -> dict[str, Any]:
    config = trigger.config
    return {
        "kind": trigger.kind,
        "name": trigger.name,
        "condition": config.get("if"),
        "cron": config.get("cron", ""),
        "timezone": config.get("timezone", "UTC"),
    }


def _with_last_runs(rows: QuerySet[Flow]) -> QuerySet[Any]:
    runs = Run.objects.filter(flow=OuterRef("pk")).order_by("-created_at", "-id").values("pk")
    return rows.annotate(**{f"last_{n}": Subquery(runs[n : n + 1]) for n in range(LAST)})


def _last_ids(flow: Any) -> list[str]:
    found = (getattr(flow, f"last_{n}") for n in range(LAST))
    return [run_id for run_id in found if run_id]


def _runs_by_id(flows: list[Any]) -> dict[str, Run]:
    ids = [run_id for flow in flows for run_id in _last_ids(flow)]
    return Run.objects.only("pk", "status", "created_at", "ended_at").in_bulk(ids)


def _row(flow: Any, runs: dict[str, Run]) -> dict[str, Any]:
    release: Release | None = flow.live
    return {
        "flow": flow,
        "live": release.version if release else None,
        "ahead": is_ahead(flow),
        "saved_at": flow.draft.updated_at.timestamp(),
        "saved_by": flow.draft.updated_by,
        "runs": [_seen(runs[run_id]) for run_id in reversed(_last_ids(flow)) if run_id in runs],
        "last": runs.get(flow.last_0) if flow.last_0 else None,
    }


def _seen(run: Run) -> dict[str, Any]:
    """A run with the state and the word it is shown by."""
    state, label = of_run(run.status)
    return {"run": run, "id": run.pk, "state": state, "label": label}
