"""Pages of dead letters, their replays and the quarantine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from resources.access import Actor
from resources.errors import BadInput, NotFound, OrchestraError
from runs.dead import dismissing, pages, quarantine, replays
from runs.dead.letters import Filter

SECTION: Final = {"section": "dead"}


@require_safe
@login_required
@never_cache
def letter_list(request: HttpRequest) -> HttpResponse:
    actor, now = Actor.of(request), time.time()
    asked = pages.Asked.of(request.GET.dict(), now)
    try:
        page = pages.letters_page(actor, asked, request.GET.get("cursor", ""), now)
    except BadInput:  # an old link still shows a list
        return redirect("dead-letters")
    return render(request, "dead/list.html", {**page, **SECTION})


@require_POST
@login_required
def letters_do(request: HttpRequest) -> HttpResponse:
    """What is asked of the chosen runs (`id`), or of all that match the filter (`all`)."""
    control = request.POST.get("control", "")
    if control not in _DO:
        raise Http404("Dead letters know no such verb.")
    try:
        return _DO[control](request, Actor.of(request))
    except NotFound as error:
        raise Http404(error.message) from error
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return redirect(_back(request))


def _back(request: HttpRequest) -> str:
    """To the list as it was filtered, or to the run's page. Never anywhere else."""
    back, run = request.POST.get("back", ""), request.POST.get("run", "")
    if run:
        return reverse("run", args=[run[:26]])
    return reverse("dead-letters") + (back if back.startswith("?") else "")


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").replace("\0", "").strip()


def _replay(request: HttpRequest, actor: Actor) -> HttpResponse:
    rate = request.POST.get("rate", "")
    batch = replays.start_replay(
        actor=actor, asked=_chosen(request), mode=request.POST.get("control", ""), reason=_reason(request),
        rate=int(rate) if rate.isdecimal() and len(rate) < 6 else replays.DEFAULT_RATE,
    )  # fmt: skip
    return redirect("replay", batch.pk)


def _chosen(request: HttpRequest) -> Filter:
    """All that the page counted (nothing that gave up since), or the runs that were ticked."""
    if "all" not in request.POST:
        ids = tuple(dict.fromkeys(request.POST.getlist("id")))
        if not ids:
            raise BadInput("No run was chosen.")
        return Filter(ids=ids)
    try:
        at = float(request.POST["all"])
    except ValueError:
        raise BadInput("Open the list again: this form is not one of ours.") from None
    return replace(pages.Asked.of(request.POST.dict(), at).filter, until=at)


def _dismiss(request: HttpRequest, actor: Actor) -> HttpResponse:
    ids = request.POST.getlist("id")
    found = dismissing.dismiss_runs(actor=actor, ids=ids, reason=_reason(request))
    done = sum(result.done for result in found)
    refused = " ".join(sorted({result.message for result in found if not result.done}))
    said = f"Dismissed {done} of {len(found)} dead letter{'s' if len(found) != 1 else ''}. {refused}".strip()
    (messages.success if found and done == len(found) else messages.warning)(request, said)
    return redirect(_back(request))


def _quarantine(request: HttpRequest, actor: Actor) -> HttpResponse:
    run_id = request.POST.get("id", "")
    row = quarantine.quarantine_input(
        actor=actor, run_id=run_id, reason=_reason(request), this_release_only="this_release_only" in request.POST
    )
    messages.success(request, "New runs with this input are refused.")
    return redirect("quarantine-entry", row.pk)


_DO: Final[dict[str, Callable[[HttpRequest, Actor], HttpResponse]]] = {
    "retry": _replay,
    "replay": _replay,
    "dismiss": _dismiss,
    "quarantine": _quarantine,
}


@require_safe
@login_required
@never_cache
def replay_list(request: HttpRequest) -> HttpResponse:
    rows = replays.list_replays(Actor.of(request))
    return render(request, "dead/replays.html", {"rows": rows, "now": time.time(), **SECTION})


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def replay_page(request: HttpRequest, batch_id: int) -> HttpResponse:
    live = request.headers.get("HX-Target") == "replay-live"
    try:
        page = pages.replay_page(Actor.of(request), batch_id, request.GET.get("status", ""), time.time())
    except NotFound as error:
        raise Http404(error.message) from error
    return render(request, "dead/_replay.html" if live else "dead/replay.html", {**page, **SECTION})


@require_POST
@login_required
def replay_abort(request: HttpRequest, batch_id: int) -> HttpResponse:
    try:
        replays.abort_replay(actor=Actor.of(request), batch_id=batch_id, reason=_reason(request))
    except NotFound as error:
        raise Http404(error.message) from error
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return redirect("replay", batch_id)


@require_safe
@login_required
@never_cache
def quarantine_list(request: HttpRequest) -> HttpResponse:
    flow, released = request.GET.get("flow", "").replace("\0", "")[:63], request.GET.get("state") == "released"
    page = pages.quarantine_page(Actor.of(request), flow, released, time.time())
    return render(request, "dead/quarantine.html", {**page, **SECTION})


@require_safe
@login_required
@never_cache
def quarantine_entry(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        page = pages.entry_page(Actor.of(request), pk, time.time())
    except NotFound as error:
        raise Http404(error.message) from error
    return render(request, "dead/entry.html", {**page, **SECTION})


@require_POST
@login_required
def quarantine_release(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        quarantine.release_input(actor=Actor.of(request), quarantine_id=pk, reason=_reason(request))
        messages.success(request, "The input starts runs again.")
    except NotFound as error:
        raise Http404(error.message) from error
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return redirect("quarantine-entry", pk)
