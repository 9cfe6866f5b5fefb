"""Pages of runners: who asks for jobs, what is in line, and their tokens."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from resources.access import Actor, folders_for
from resources.errors import BadInput, OrchestraError
from runs import clock
from runs.jobs import listing, tokens

SECTION = {"section": "runners"}


@require_safe
@login_required
@never_cache
def runner_list(request: HttpRequest) -> HttpResponse:
    return _list(request)


def _list(request: HttpRequest, error: str = "", status: int = 200) -> HttpResponse:
    actor, now = Actor.of(request), clock.now()
    page: dict[str, Any] = {
        "rows": listing.at_work(actor, now),
        "lines": listing.lines(actor, now),
        "tokens": listing.runner_tokens(actor),
        "administers_some": folders_for(actor, "admin") != [],
        "error": error,
    }
    return render(request, "runners/list.html", {**page, **SECTION}, status=status)


@require_POST
@login_required
@never_cache
def token_new(request: HttpRequest) -> HttpResponse:
    """The page shows the token: it is in no address, no session and no later answer."""
    name, folder, labels = (request.POST.get(key, "").strip() for key in ("name", "folder", "labels"))
    try:
        token, plain = tokens.create_runner_token(
            actor=Actor.of(request), name=name, folder=folder, labels=labels.replace(",", " ").split()
        )
    except BadInput as error:
        return _list(request, error.message, 422)
    return render(
        request, "runners/token.html", {"token": token, "plain": plain, "url": settings.PUBLIC_URL, **SECTION}
    )


@require_POST
@login_required
@never_cache
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    try:
        token = tokens.revoke_runner_token(actor=Actor.of(request), token_id=token_id)
    except OrchestraError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"{token.name} revoked.")
    return redirect("runners")
