"""The page of one template: what it does, what must be made first, its text."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from flows.known import known_names
from flows.offers import BY_NAME, Need, needs_of
from resources.access import Actor, can, require_some_role
from resources.errors import NotFound


@login_required
@require_GET
def template_page(request: HttpRequest, name: str) -> HttpResponse:
    """What to make first, with links to where; admins make connections and secrets."""
    actor = Actor.of(request)
    require_some_role(actor)
    if (starter := BY_NAME.get(name)) is None:
        raise NotFound(f"There is no template {name[:40]!r}.")
    known, admin = known_names(), can(actor, "admin")
    needs = [
        {"need": need, "there": need.is_there(known), "url": _made_at(need) if admin else ""}
        for need in needs_of(starter.text)
    ]
    context = {"section": "flows", "starter": starter, "needs": needs, "admin": admin}
    return render(request, "flows/template.html", {**context, "source": starter.shown})


def _made_at(need: Need) -> str:
    """Where an admin makes it; empty where this program does not."""
    match need.kind:
        case "connection":
            return f"{reverse('connection-new', args=[need.type])}?name={need.name}"
        case "secret":
            return f"{reverse('secret-new')}?name={need.name}"
        case "variable":
            return f"{reverse('variable-new')}?name={need.name}"
        case "group":
            return reverse("groups")
        case "runner":
            return reverse("runners")
        case _:
            return ""


def choices() -> list[dict[str, Any]]:
    """The templates as the page of a new flow offers them."""
    known = known_names()
    return [
        {"starter": starter, "missing": sum(need.is_there(known) is False for need in needs), "needs": needs}
        for starter in BY_NAME.values()
        for needs in [needs_of(starter.text)]
    ]
