"""What the pages of connections and secrets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from resources.access import Actor, require, require_some_role
from resources.errors import OrchestraError
from resources.forms import Inline
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


def named(request: HttpRequest) -> dict[str, str]:
    """What a link that says what to make has filled in."""
    return {"name": request.GET.get("name", "")[:64]}


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
