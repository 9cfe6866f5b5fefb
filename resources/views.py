"""Pages of secrets and resources. Admins change; everybody with a role sees, but never a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from resources import secrets
from resources.access import Actor, can, require, require_some_role
from resources.errors import Conflict, OrchestraError
from resources.forms import Inline, SecretForm
from resources.models import Role


def viewer(request: HttpRequest) -> Actor:
    """Connections belong to no folder: whoever views any folder sees that they exist."""
    actor = Actor.of(request)
    require_some_role(actor)
    return actor


def admin(request: HttpRequest) -> Actor:
    actor = Actor.of(request)
    require(actor, Role.ADMIN)
    return actor


def tried(form: Inline, act: Callable[[], object]) -> bool:
    """Run an action with a valid form; what it refuses is shown at the form's fields."""
    if not form.is_valid():
        return False
    try:
        act()
    except OrchestraError as error:
        form.show(error)
        return False
    return True


def form_page(request: HttpRequest, template: str, form: Inline, **context: Any) -> HttpResponse:
    form.mark()
    return render(
        request, template, {"form": form, "section": "connections", **context}, status=422 if form.errors else 200
    )


@login_required
@require_GET
def secret_list(request: HttpRequest) -> HttpResponse:
    actor = viewer(request)
    context = {"secrets": secrets.list_secrets(), "may_change": can(actor, Role.ADMIN)}
    return render(request, "resources/secrets.html", {**context, "section": "connections"})


@sensitive_post_parameters("value")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def secret_new(request: HttpRequest) -> HttpResponse:
    actor = admin(request)
    form = SecretForm(request.POST or None)
    if request.method == "POST" and tried(
        form,
        lambda: secrets.set_secret(
            actor=actor, name=form.cleaned_data["name"], value=form.cleaned_data["value"], new=True
        ),
    ):
        messages.success(request, f"{form.cleaned_data['name']} saved.")
        return redirect("secrets")
    return form_page(request, "resources/secret.html", form)


@sensitive_post_parameters("value")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def secret_edit(request: HttpRequest, name: str) -> HttpResponse:
    actor = admin(request)
    secret = secrets.get(name)
    form = SecretForm(request.POST or None, fixed=name)
    if request.method == "POST" and tried(
        form, lambda: secrets.set_secret(actor=actor, name=name, value=form.cleaned_data["value"])
    ):
        messages.success(request, f"{name} rotated. New steps use the new value.")
        return redirect("secrets")
    return form_page(request, "resources/secret.html", form, secret=secret)


@login_required
@require_POST
def secret_delete(request: HttpRequest, name: str) -> HttpResponse:
    try:
        secrets.delete_secret(actor=Actor.of(request), name=name)
    except Conflict as error:
        messages.error(request, f"{error.message} {error.hint}")
        return redirect("secret-edit", name)
    messages.success(request, f"{name} deleted.")
    return redirect("secrets")
