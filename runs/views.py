"""Pages of runs. A fragment is asked for at the page's own address, named by HX-Target."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from resources.access import Actor
from resources.errors import NotFound, OrchestraError
from runs import actions, bulk, bulkpage, control_forms, filters, pages, runpage
from runs.filters import Asked
from runs.sensitive import reveal as revealing

VERBS = {"cancel": "cancel_run", "pause": "pause_run", "resume": "resume_run"}


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def run_list(request: HttpRequest) -> HttpResponse:
    actor, asked, now = Actor.of(request), Asked.of(request.GET.dict()), time.time()
    if request.headers.get("HX-Target") == "runs-live":
        return render(request, "runs/_table.html", pages.run_rows(actor, asked, now))
    return render(request, "runs/list.html", {**pages.run_list(actor, asked, now), "section": "runs"})


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def run_page(request: HttpRequest, run_id: str) -> HttpResponse:
    actor, live = Actor.of(request), request.headers.get("HX-Target") == "run-live"
    try:
        run = runpage.find_run(actor, run_id)
    except NotFound as error:
        raise Http404(error.message) from error
    asked = {"step": request.GET.get("step", ""), "tab": request.GET.get("tab", ""), "after": _after(request)}
    page = runpage.run_page(actor, run, **asked, now=time.time())  # type: ignore[arg-type]
    return render(request, "runs/_live.html" if live else "runs/run.html", {**page, "section": "runs", "live": live})


def _after(request: HttpRequest) -> int:
    text = request.GET.get("after", "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


@require_POST
@login_required
def control(request: HttpRequest, run_id: str, verb: str) -> HttpResponse:
    """Steer the run or help it along, with a reason; the page says what came of it."""
    if verb not in VERBS and verb not in control_forms.VERBS:
        raise Http404(f"Runs know no verb “{verb}”.")
    actor, reason = Actor.of(request), request.POST.get("reason", "").strip()
    try:
        if verb in VERBS:
            getattr(actions, VERBS[verb])(actor=actor, run_id=run_id, reason=reason)
        else:
            run_id = control_forms.carry_out(actor, run_id, verb, request.POST.dict())
    except NotFound as error:
        raise Http404(error.message) from error
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return redirect("run", run_id)


@require_POST
@login_required
@never_cache
def reveal(request: HttpRequest, run_id: str) -> HttpResponse:
    """One sensitive value, on a page of its own, once."""
    actor, field = Actor.of(request), request.POST.get("field", "").strip()
    try:
        value = revealing.reveal_field(actor=actor, run_id=run_id, field=field, reason=request.POST.get("reason", ""))
    except NotFound as error:
        if error.stable_code == "run_not_found":
            raise Http404(error.message) from error
        messages.error(request, f"{error.message} {error.hint}".strip())
        return redirect("run", run_id)
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
        return redirect("run", run_id)
    return render(request, "runs/revealed.html", {"run_id": run_id, "field": field, "value": value, "section": "runs"})


@require_POST
@login_required
def bulk_control(request: HttpRequest) -> HttpResponse:
    """One control for the chosen runs, or for all that match once that was looked at; the list says what came of it."""
    actor, control, back = Actor.of(request), request.POST.get("control", ""), request.POST.get("back", "")
    ids, reason = request.POST.getlist("id"), request.POST.get("reason", "").strip()
    try:
        if "all" in request.POST:
            return _all_that_match(request, actor, control, reason, back)
        found = bulk.control_runs(actor=actor, control=control, ids=ids, reason=reason)
        _say(request, control, found)
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return _to_list(back)


def _all_that_match(request: HttpRequest, actor: Actor, control: str, reason: str, back: str) -> HttpResponse:
    """A look at what it would do; then it is done to the newest, with a look at the older ones that are left."""
    asked = replace(Asked.of(request.POST.dict()), until=request.POST["all"].replace("\0", "")[:26])
    if "sure" in request.POST:
        ids, total = filters.matching(actor, asked, time.time(), bulk.MAX_RUNS)
        found = bulk.control_runs(actor=actor, control=control, ids=ids, reason=reason)
        _say(request, control, found)
        asked = replace(asked, before=bulk.next_before(found, total))
        if not asked.before:
            return _to_list(back)
    page = bulkpage.preview(actor, control, reason, asked, time.time())
    return render(request, "runs/bulk.html", {**page, "section": "runs"})


def _say(request: HttpRequest, control: str, found: Sequence[bulk.Result]) -> None:
    (messages.success if all(r.done for r in found) else messages.warning)(request, bulk.summary(control, found))


def _to_list(back: str) -> HttpResponse:
    return redirect(reverse("runs") + (back if back.startswith("?") else ""))
