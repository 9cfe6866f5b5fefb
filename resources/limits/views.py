"""The page of a connection's limits: what they are and what they do right now. Everybody sees, admins change."""

from __future__ import annotations

import time

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from resources import connections
from resources.access import Actor, can, require, require_some_role
from resources.errors import OrchestraError
from resources.limits import actions, overview
from resources.limits.forms import CircuitForm, LimitsForm
from resources.models import Role


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def limits_page(request: HttpRequest, name: str) -> HttpResponse:
    actor = Actor.of(request)
    require_some_role(actor)
    ref = connections.resolve(name)
    form = LimitsForm(request.POST or None, initial=LimitsForm.initial_of(ref.settings.limits))
    if request.method == "POST":
        require(actor, Role.ADMIN)
        if _saved(actor, name, form):
            messages.success(request, f"Limits of {name} saved.")
            return redirect("connection-limits", name)
    form.mark()
    admin = can(actor, Role.ADMIN)
    now = overview.of_connection(name, time.time(), rows=admin)
    context = {
        "connection": ref,
        "limits": now,
        "form": form if admin else None,
        "circuit": CircuitForm(),
    }
    return render(
        request, "resources/limits.html", {**context, "section": "connections"}, status=422 if form.errors else 200
    )


def _saved(actor: Actor, name: str, form: LimitsForm) -> bool:
    if not form.is_valid():
        return False
    try:
        actions.set_limits(actor=actor, name=name, limits=form.limits())
    except OrchestraError as error:
        form.show(error)
        return False
    return True


@login_required
@require_POST
def circuit(request: HttpRequest, name: str, to: str) -> HttpResponse:
    """`to`: open or close."""
    opened = to == "open"
    try:
        actions.switch_circuit(actor=Actor.of(request), name=name, opened=opened, reason=request.POST.get("reason", ""))
    except OrchestraError as error:
        if error.status != 422:
            raise
        messages.error(request, error.message)
    else:
        messages.success(request, f"The circuit of {name} is {'open' if opened else 'closed'}.")
    return redirect("connection-limits", name)
