"""Pages: all flows, one flow, start a run of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from flows import given
from flows.actions import visible_flow
from flows.definition.plan import Plan
from flows.models import Flow
from flows.startform import field_errors, fields_of, read_form
from resources.access import Actor, can
from resources.errors import BadInput, Conflict, OrchestraError, TooMany
from resources.models import Role
from runs import actions, flow_actions, line
from runs.flow_pages import flow_page, list_page, live_plan_of, why_not
from runs.models import StartKey

PRIORITY = re.compile(r"-?(10|[0-9])", re.ASCII)


@login_required
@vary_on_headers("HX-Request", "HX-Target")
@require_GET
def flow_list(request: HttpRequest) -> HttpResponse:
    search, cursor = request.GET.get("q", "").replace("\0", "")[:100], request.GET.get("cursor", "")[:200]
    template = "flows/_list.html" if _wants(request, "flow-list") else "flows/list.html"
    return render(request, template, list_page(Actor.of(request), search, cursor))


@login_required
@vary_on_headers("HX-Request", "HX-Target")
@require_GET
def show_flow(request: HttpRequest, slug: str) -> HttpResponse:
    actor = Actor.of(request)
    template = "flows/_runs.html" if _wants(request, "flow-runs") else "flows/show.html"
    return render(request, template, flow_page(actor, visible_flow(actor, slug)))


def _wants(request: HttpRequest, fragment: str) -> bool:
    """Whether a live page asks for this part of itself again."""
    return request.headers.get("HX-Target") == fragment


def _start(
    actor: Actor, flow: Flow, schema: Mapping[str, Any], posted: Mapping[str, str]
) -> tuple[actions.Started | None, dict[str, str]]:
    """What was started, or errors by field. The form's key makes a double click one run."""
    value, errors = read_form(schema, posted)
    priority = posted.get("priority", "").strip()
    if priority and not PRIORITY.fullmatch(priority):
        errors["priority"] = "A priority is a whole number from -10 to 10."
    if errors:
        return None, errors
    try:
        return actions.start_run(
            actor=actor,
            flow=flow,
            input=value,
            trigger={"kind": "manual", "name": "manual"},
            idempotency_key=posted.get("key", "")[:64] or None,
            source="page",
            priority=int(priority) if priority else None,
            test=posted.get("test") == "on",
        ), {}
    except BadInput as refusal:
        return None, field_errors(refusal.details or [], schema) or {"": refusal.message}
    except (Conflict, TooMany) as refusal:
        return None, {"": f"{refusal.message} {refusal.hint}".strip()}


def _started(request: HttpRequest, started: actions.Started) -> HttpResponse:
    if started.skipped:
        messages.info(request, "Nothing was started: this run holds the place of the concurrency key.")
    return redirect("run", started.run.pk)


@login_required
@require_POST
def gate(request: HttpRequest, slug: str, verb: str) -> HttpResponse:
    """Pause the flow, or resume it."""
    actor, reason = Actor.of(request), request.POST.get("reason", "").strip()
    visible_flow(actor, slug)
    try:
        if verb == "pause":
            mode = request.POST.get("mode", "queue")
            flow_actions.pause_flow(actor=actor, slug=slug, reason=reason, mode=mode)
        else:
            flow_actions.resume_flow(actor=actor, slug=slug, reason=reason)
    except OrchestraError as refusal:
        messages.error(request, f"{refusal.message} {refusal.hint}".strip())
    return redirect("flow", slug)


@login_required
@require_http_methods(["GET", "POST"])
def start_flow(request: HttpRequest, slug: str) -> HttpResponse:
    """The start form of the live release; errors stand at their fields."""
    actor = Actor.of(request)
    flow = visible_flow(actor, slug)
    plan = live_plan_of(flow)
    refusal = why_not(actor, flow, plan)
    if plan is None or refusal:
        messages.error(request, refusal)
        return redirect("flow", slug)
    posted: dict[str, str] | None = None
    errors: dict[str, str] = {}
    if request.method == "POST":
        posted = {name: request.POST[name] for name in request.POST}
        before = StartKey.objects.filter(flow=flow, source="page", key=posted.get("key", "")).first()
        if request.FILES and before is not None:  # a double click: the second upload would be another input
            return redirect("run", before.run_id)
        taken, errors = given.take_files(actor, flow.folder, fields_of(plan.input_schema), request.FILES)
        posted |= taken
        started, errors = (None, errors) if errors else _start(actor, flow, plan.input_schema, posted)
        if started is not None:
            return _started(request, started)
    context = _form(actor, flow, plan, posted, errors)
    return render(request, "flows/start.html", context, status=422 if errors else 200)


def _form(
    actor: Actor, flow: Flow, plan: Plan, posted: dict[str, str] | None, errors: dict[str, str]
) -> dict[str, Any]:
    fields = given.offered(actor, flow.folder, fields_of(plan.input_schema, posted, errors))
    posted = posted or {}
    return {
        "section": "flows",
        "flow": flow,
        "plan": plan,
        "form_error": errors.get("", ""),
        "fields": fields,
        "files": any(field.kind == "resource" for field in fields),
        "operates": can(actor, Role.OPERATOR, flow.folder),
        "priority": {"value": posted.get("priority", ""), "error": errors.get("priority", "")},
        "gate": line.of_flow(flow),
        "key": posted.get("key") or uuid.uuid4().hex,
    }
