"""Pages of connections. Admins change; everybody with a role sees that they exist."""

from __future__ import annotations

import time

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from resources import connection_past as past
from resources import connections, probe
from resources.access import Actor, can
from resources.errors import Conflict, NotFound
from resources.kindform import KindForm
from resources.kinds import KINDS
from resources.limits import overview
from resources.models import Role
from resources.secret_forms import QuickForm
from resources.views import admin, form_page, named, tried, viewer


@login_required
@require_GET
def connection_list(request: HttpRequest) -> HttpResponse:
    actor = viewer(request)
    context = {"connections": overview.listed(time.time()), "may_change": can(actor, Role.ADMIN)}
    return render(request, "resources/connections.html", {**context, "section": "connections"})


@login_required
@require_GET
def connection_kinds(request: HttpRequest) -> HttpResponse:
    admin(request)
    return render(request, "resources/kinds.html", {"kinds": KINDS.values(), "section": "connections"})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def connection_new(request: HttpRequest, kind: str) -> HttpResponse:
    actor = admin(request)
    if kind not in KINDS:
        raise NotFound(f"There is no kind of connection called {kind}.", hint="Choose one of those there are.")
    form = KindForm(kind, request.POST or None, initial=named(request))
    if request.method == "POST" and tried(
        form,
        lambda: connections.create_connection(
            actor=actor, name=form.cleaned_data["name"], kind=kind, settings=form.settings()
        ),
    ):
        messages.success(request, f"{form.cleaned_data['name']} added.")
        return redirect("connection-edit", form.cleaned_data["name"])
    return form_page(request, "resources/connection.html", form, kind=KINDS[kind], quick=_quick(form))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def connection_edit(request: HttpRequest, name: str) -> HttpResponse:
    actor = admin(request)
    ref = connections.resolve(name)
    form = KindForm(ref.kind, request.POST or None, fixed=name, initial=KindForm.initial_of(ref.settings))
    if request.method == "POST" and tried(
        form, lambda: connections.update_connection(actor=actor, name=name, settings=form.settings(ref.settings))
    ):
        messages.success(request, f"{name} saved.")
        return redirect("connection-edit", name)
    now = overview.of_connection(name, time.time(), rows=True)
    context = {"connection": ref, "kind": KINDS[ref.kind], "limits": now, **past.about(ref.id, name)}
    return form_page(request, "resources/connection.html", form, quick=_quick(form), **context)


def _quick(form: KindForm) -> QuickForm | None:
    """For a secret that is not there yet; None where nothing is secret."""
    if not any(spot.shape == "secret" for spot in form.spots):
        return None
    quick = QuickForm()
    quick.mark()
    return quick


@login_required
@require_POST
def connection_test(request: HttpRequest, name: str) -> HttpResponse:
    result = probe.test_connection(actor=Actor.of(request), name=name)
    (messages.success if result.ok else messages.error)(request, result.message)
    return redirect("connection-edit", name)


@login_required
@require_POST
def connection_delete(request: HttpRequest, name: str) -> HttpResponse:
    try:
        connections.delete_connection(actor=Actor.of(request), name=name)
    except Conflict as error:
        messages.error(request, f"{error.message} {error.hint}")
        return redirect("connection-edit", name)
    messages.success(request, f"{name} deleted.")
    return redirect("connections")
