"""Pages of secrets. Admins change; everybody with a role sees that they exist, and nobody sees a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from resources import backends, secret_trials, secret_versions, secrets, usage
from resources.access import Actor, can
from resources.errors import OrchestraError
from resources.models import Role, Secret
from resources.secret_age import age_of
from resources.secret_forms import ElsewhereForm, QuickForm, ReminderForm, SecretForm
from resources.views import admin, form_page, named, tried, viewer


@login_required
@require_GET
def secret_list(request: HttpRequest) -> HttpResponse:
    actor = viewer(request)
    rows = [(secret, age, _place(secret)) for secret, age in secrets.ages(timezone.now())]
    late = sum(age.state == "overdue" for _, age, _ in rows)
    context = {"rows": rows, "late": late, "may_change": can(actor, Role.ADMIN), "section": "connections"}
    return render(request, "resources/secrets.html", context)


@sensitive_post_parameters("value")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def secret_new(request: HttpRequest) -> HttpResponse:
    actor, form = admin(request), SecretForm(request.POST or None, initial=named(request))

    def save() -> Secret:
        data = form.cleaned_data
        return secrets.set_secret(actor=actor, name=data["name"], value=data["value"], new=True)

    if request.method == "POST" and tried(form, save):
        messages.success(request, f"{form.cleaned_data['name']} saved.")
        return redirect("secrets")
    return form_page(request, "resources/secret.html", form)


@sensitive_post_parameters("value")
@login_required
@require_POST
def secret_quick(request: HttpRequest) -> HttpResponse:
    """A new secret from beside a field that names one: 201 with its name, or 422 with the form and what is wrong."""
    actor, form = admin(request), QuickForm(request.POST)

    def save() -> Secret:
        data = form.cleaned_data
        if data["source"] == backends.STORED:
            return secrets.set_secret(actor=actor, name=data["name"], value=data["value"], new=True)
        return secrets.point_secret(
            actor=actor, name=data["name"], source=data["source"], locator=form.locator(), new=True
        )

    if tried(form, save):
        return JsonResponse({"name": form.cleaned_data["name"]}, status=201)
    form.mark()
    return render(request, "resources/_secret_quick.html", {"form": form}, status=422)


@sensitive_post_parameters("value")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def secret_edit(request: HttpRequest, name: str) -> HttpResponse:
    actor, secret = admin(request), secrets.get(name)
    form = SecretForm(request.POST or None, fixed=name)

    def save() -> Secret:
        return secrets.set_secret(actor=actor, name=name, value=form.cleaned_data["value"], overlap=form.seconds)

    if request.method == "POST" and tried(form, save):
        messages.success(request, f"{name} rotated. New steps use the new value.")
        return redirect("secret-edit", name)
    return form_page(request, "resources/secret.html", form, **_about(secret))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def secret_elsewhere(request: HttpRequest, name: str = "") -> HttpResponse:
    """A new secret, or a new version of one, whose value is kept elsewhere."""
    actor, secret = admin(request), secrets.get(name) if name else None
    initial = {"source": secret.source, **secret.locator} if secret and secret.locator else None
    form = ElsewhereForm(request.POST or None, fixed=name, initial=initial)

    def save() -> Secret:
        data = form.cleaned_data
        return secrets.point_secret(
            actor=actor, name=name or data["name"], source=data["source"], locator=form.locator(),
            new=not name, overlap=form.seconds,
        )  # fmt: skip

    if request.method == "POST" and tried(form, save):
        messages.success(request, f"{name or form.cleaned_data['name']} is read from where it is kept.")
        return redirect("secret-edit", name or form.cleaned_data["name"])
    return form_page(request, "resources/secret_elsewhere.html", form, secret=secret)


@login_required
@require_POST
def secret_reminder(request: HttpRequest, name: str) -> HttpResponse:
    actor, secret = admin(request), secrets.get(name)
    form = ReminderForm(request.POST)

    def save() -> Secret:
        return secrets.set_reminder(actor=actor, name=name, days=form.cleaned_data["rotate_days"])

    if tried(form, save):
        messages.success(request, "Saved.")
        return redirect("secret-edit", name)
    form.mark()
    context = {**_about(secret), "form": SecretForm(fixed=name), "reminder": form, "section": "connections"}
    return render(request, "resources/secret.html", context, status=422)


@login_required
@require_POST
def secret_test(request: HttpRequest, name: str) -> HttpResponse:
    result = secret_trials.try_secret(actor=Actor.of(request), name=name)
    (messages.success if result.ok else messages.error)(request, result.message)
    return redirect("secret-edit", name)


@login_required
@require_POST
def secret_revoke(request: HttpRequest, name: str, version: int) -> HttpResponse:
    actor = Actor.of(request)
    done = f"Version {version} is accepted no more; its value is erased."
    return _acted(request, name, lambda: secret_versions.revoke_version(actor=actor, name=name, version=version), done)


@login_required
@require_POST
def secret_restore(request: HttpRequest, name: str, version: int) -> HttpResponse:
    actor = Actor.of(request)
    done = f"{name} has the value of version {version} again."
    return _acted(request, name, lambda: secret_versions.restore_version(actor=actor, name=name, version=version), done)


@login_required
@require_POST
def secret_delete(request: HttpRequest, name: str) -> HttpResponse:
    actor = Actor.of(request)
    act = lambda: secrets.delete_secret(actor=actor, name=name)  # noqa: E731  as the others
    return _acted(request, name, act, f"{name} deleted.", to="secrets")


def _acted(request: HttpRequest, name: str, act: Callable[[], object], done: str, *, to: str = "") -> HttpResponse:
    try:
        act()
    except OrchestraError as error:
        if error.status not in (409, 500):  # those are about the secret's state; the rest is about the request
            raise
        messages.error(request, f"{error.message} {error.hint}".strip())
        return redirect("secret-edit", name)
    messages.success(request, done)
    return redirect(to) if to else redirect("secret-edit", name)


def _about(secret: Secret) -> dict[str, Any]:
    now = timezone.now()
    states = [(v, secret_versions.state_of(v, secret, now.timestamp())) for v in secret_versions.history(secret.name)]
    return {
        "secret": secret,
        "uses": usage.uses_of("secret", secret.name),
        "place": _place(secret),
        "age": age_of(secret.rotated_at, secret.rotate_days, now),
        "versions": states,
        "reminder": ReminderForm(initial={"rotate_days": secret.rotate_days}),
    }


def _place(secret: Secret) -> str:
    """Where the value is kept, in words; "" for here."""
    found = secret.locator
    if secret.source == backends.STORED:
        return ""
    return found["variable"] if secret.source == "env" else f"{found['mount']}/{found['path']}, {found['field']}"
