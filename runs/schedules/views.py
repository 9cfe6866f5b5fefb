"""Pages of schedules. A live fragment is asked for at the page's own address, named by HX-Target."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from flows.definition.cron import CronError, zone_of
from resources.access import Actor
from resources.errors import BadInput, NotFound, OrchestraError
from runs import clock
from runs.schedules import actions, pages
from runs.schedules.models import Schedule


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def schedule_list(request: HttpRequest) -> HttpResponse:
    page = pages.list_page(Actor.of(request), request.GET.get("cursor", "")[:300], clock.now())
    live = request.headers.get("HX-Target") == "schedule-list"
    return render(request, "schedules/_list.html" if live else "schedules/list.html", page)


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def show_schedule(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    actor = Actor.of(request)
    try:
        schedule = actions.visible_schedule(actor, slug, name)
    except NotFound as error:
        raise Http404(error.message) from error
    asked = {name: request.GET.get(name, "")[:300] for name in ("state", "cursor")}
    page = pages.show_page(actor, schedule, clock.now(), **asked)
    if request.headers.get("HX-Target") == "schedule-live":
        return render(request, "schedules/_live.html", page)
    fill = _backfill_asked(schedule, request)
    return render(request, "schedules/show.html", {**page, **fill}, status=422 if fill.get("error") else 200)


def _backfill_asked(schedule: Schedule, request: HttpRequest) -> dict[str, Any]:
    """What the form of the backfill holds, and what it would do."""
    start, end = request.GET.get("from", "")[:40], request.GET.get("to", "")[:40]
    asked: dict[str, Any] = {"from": start, "to": end, "key": uuid.uuid4().hex}
    if not start and not end:
        return asked
    try:
        span = _local(schedule, start), _local(schedule, end)
        return {**asked, "preview": pages.preview(schedule, *span), "start": span[0], "end": span[1]}
    except BadInput as refusal:
        return {**asked, "error": f"{refusal.message} {refusal.hint}".strip()}


def _local(schedule: Schedule, text: str) -> float:
    """A form's time of day in the schedule's zone, as epoch seconds. Raises BadInput."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone_of(schedule.timezone)).timestamp()
    except (ValueError, OverflowError, CronError) as error:
        raise BadInput("Give both ends of the range, with day and time.") from error


# -- changes -----------------------------------------------------------------------------------------------------
Where = dict[str, Any]


def _pause(request: HttpRequest, where: Where) -> str:
    actions.pause_schedule(**where, note=request.POST.get("note", "").strip().replace("\0", ""))
    return "The schedule is paused."


def _resume(request: HttpRequest, where: Where) -> str:
    actions.resume_schedule(**where)
    return "The schedule goes on with its next time."


def _trigger(request: HttpRequest, where: Where) -> str:
    row = actions.trigger_schedule(**where, key=request.POST.get("key", "").replace("\0", "")[:64])
    return "Started." if row.run_id else "It starts when the run before it has ended."


def _backfill(request: HttpRequest, where: Where) -> str:
    try:
        start, end = float(request.POST.get("start", "")), float(request.POST.get("end", ""))
    except ValueError as error:
        raise BadInput("Give both ends of the range.", code="bad_range") from error
    count = actions.backfill_schedule(**where, start=start, end=end)
    return f"{count} time{'s' if count > 1 else ''} of the past wait{'' if count > 1 else 's'} for a turn."


def _drop(request: HttpRequest, where: Where) -> str:
    count = actions.drop_waiting(**where)
    return f"{count} waiting time{'s were' if count > 1 else ' was'} given up."


VERBS: dict[str, Callable[[HttpRequest, Where], str]] = {
    "pause": _pause,
    "resume": _resume,
    "trigger": _trigger,
    "backfill": _backfill,
    "drop": _drop,
}


@require_POST
@login_required
def control(request: HttpRequest, slug: str, name: str, verb: str) -> HttpResponse:
    """Pause, resume, start now, backfill or give up; the page says what came of it."""
    if verb not in VERBS:
        raise Http404(f"Schedules know no verb “{verb}”.")
    try:
        said = VERBS[verb](request, {"actor": Actor.of(request), "slug": slug, "name": name})
        messages.success(request, said)
    except NotFound as error:
        raise Http404(error.message) from error
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return redirect("schedule", slug, name)
