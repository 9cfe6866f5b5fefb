"""Pages of subscriptions, for admins, and the schemas of events, for everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from resources.access import Actor, require
from resources.errors import OrchestraError
from resources.models import Role
from runs import clock
from runs.outbound import pages, replay, subscriptions
from runs.outbound.forms import SubscriptionForm
from runs.outbound.letters import content_of, message_id
from runs.outbound.types import BY_NAME, schema_of

SECTION = {"section": "connections"}


def _admin(request: HttpRequest) -> Actor:
    actor = Actor.of(request)
    require(actor, Role.ADMIN)
    return actor


@require_safe
@login_required
@never_cache
def subscription_list(request: HttpRequest) -> HttpResponse:
    _admin(request)
    return render(request, "subscriptions/list.html", {"rows": subscriptions.list_subscriptions(), **SECTION})


@sensitive_post_parameters("secret")
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def subscription_new(request: HttpRequest) -> HttpResponse:
    """After saving, the page shows the secret: it is in no address, no session and no later answer."""
    actor, form = _admin(request), SubscriptionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            made = subscriptions.create_subscription(
                actor=actor, name=data["name"], wanted=form.wanted(), secret=data["secret"]
            )
        except OrchestraError as error:
            form.show(error)
        else:
            return _made(request, made, f"{data['name']} added.")
    return _form(request, form)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def subscription_edit(request: HttpRequest, name: str) -> HttpResponse:
    actor, row = _admin(request), subscriptions.get_subscription(name)
    form = SubscriptionForm(request.POST or None, fixed=True, initial=SubscriptionForm.initial_of(row))
    if request.method == "POST" and form.is_valid():
        try:
            subscriptions.update_subscription(actor=actor, name=name, wanted=form.wanted())
        except OrchestraError as error:
            form.show(error)
        else:
            messages.success(request, f"{name} saved.")
            return redirect("subscription", name)
    return _form(request, form, row=row)


def _form(request: HttpRequest, form: SubscriptionForm, **context: Any) -> HttpResponse:
    form.mark()
    types = [kind for kind in BY_NAME.values() if kind.type != "test"]
    page = {"form": form, "types": types, **context, **SECTION}
    return render(request, "subscriptions/form.html", page, status=422 if form.errors else 200)


def _made(request: HttpRequest, made: subscriptions.Made, said: str) -> HttpResponse:
    if not made.secret:
        messages.success(request, said)
        return redirect("subscription", made.subscription.name)
    return render(
        request, "subscriptions/secret.html", {"row": made.subscription, "secret": made.secret, "said": said, **SECTION}
    )


@require_safe
@login_required
@never_cache
def subscription_page(request: HttpRequest, name: str) -> HttpResponse:
    _admin(request)
    page = pages.subscription_page(name, request.GET.get("status", ""), request.GET.get("cursor", ""), clock.now())
    return render(request, "subscriptions/show.html", {**page, **SECTION})


@require_safe
@login_required
@never_cache
def delivery_page(request: HttpRequest, name: str, delivery_id: int) -> HttpResponse:
    _admin(request)
    row = pages.delivery_of(name, delivery_id)
    sent = {"request_json": content_of(row), "webhook_id": message_id(row), "look": pages.look_of(row)}
    return render(request, "subscriptions/delivery.html", {"row": row, "now": clock.now(), **sent, **SECTION})


@require_POST
@sensitive_post_parameters("secret")
@login_required
@never_cache
def subscription_do(request: HttpRequest, name: str, verb: str) -> HttpResponse:
    """One change; what came of it is said on the subscription's page."""
    if verb not in _VERBS:
        raise Http404(f"Subscriptions know no verb “{verb}”.")
    subscriptions.get_subscription(name)
    try:
        return _VERBS[verb](request, _admin(request), name)
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
    return redirect("subscription", name)


def _pause(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    subscriptions.pause_subscription(actor=actor, name=name, note=request.POST.get("note", ""))
    return redirect("subscription", name)


def _resume(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    subscriptions.resume_subscription(actor=actor, name=name)
    return redirect("subscription", name)


def _test(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    delivery = subscriptions.send_test(actor=actor, name=name)
    messages.success(request, "A test is on its way.")
    return redirect("subscription-delivery", name, delivery.pk)


def _rotate(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    made = subscriptions.rotate_secret(actor=actor, name=name, secret=request.POST.get("secret", ""))
    return _made(request, made, "The secret is rotated. For 24 hours the one before signs, too.")


def _delete(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    subscriptions.delete_subscription(actor=actor, name=name)
    messages.success(request, f"{name} deleted.")
    return redirect("subscriptions")


def _replay(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Of one delivery (`delivery`), from a point (`since`), or of all dead letters of `types`."""
    delivery, since = request.POST.get("delivery", ""), request.POST.get("since", "")
    if delivery.isdecimal() and len(delivery) < 19:
        replay.replay_deliveries(actor=actor, name=name, deliveries=[int(delivery)])
        messages.success(request, "It goes out again.")
        return redirect("subscription-delivery", name, delivery)
    if "since" in request.POST:
        replay.replay_since(actor=actor, name=name, at=pages.moment_of(since))
        messages.success(request, "Everything since then goes out again.")
    else:
        count = replay.replay_dead(actor=actor, name=name, types=request.POST.get("types", "").split())
        messages.success(request, f"{count} dead {'delivery goes' if count == 1 else 'deliveries go'} out again.")
    return redirect("subscription", name)


_VERBS: dict[str, Callable[[HttpRequest, Actor, str], HttpResponse]] = {
    "pause": _pause,
    "resume": _resume,
    "test": _test,
    "rotate": _rotate,
    "delete": _delete,
    "replay": _replay,
}


@require_safe
@cache_control(public=True, max_age=3600)
def schema_list(request: HttpRequest) -> HttpResponse:
    """The published types and where their schemas are."""
    base = settings.PUBLIC_URL
    return JsonResponse({name: f"{base}/schemas/events/{name}.json" for name in BY_NAME})


@require_safe
@cache_control(public=True, max_age=3600)
def schema(request: HttpRequest, name: str) -> HttpResponse:
    """The JSON Schema of an event's data: what `dataschema` names. Says nothing about this installation."""
    if name not in BY_NAME:
        raise Http404(f"There is no event type {name[:60]}.")
    found = schema_of(BY_NAME[name], settings.PUBLIC_URL)
    return JsonResponse(found, content_type="application/schema+json")
