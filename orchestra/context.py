"""What every page's frame needs. Lazy: a fragment without the frame asks the database nothing."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from approvals.queries import mine_now
from orchestra.load import operates
from resources.access import Actor, can, folders_for
from resources.models import Role
from resources.notices.inbox import unread
from runs.dead.letters import Filter, dead_letters

#: dead letters counted in the navigation; above it stands "99+"
MOST_SHOWN = 99


def shell(request: HttpRequest) -> dict[str, Any]:
    """`csp_nonce`, the theme from its cookie ("" follows the system), the host, the counts on the inbox, on the
    notices and on the dead letters, whether the person operates anything or administers everything."""
    theme = request.COOKIES.get("theme", "")
    return {
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "theme": theme if theme in ("light", "dark") else "",
        "host": request.get_host(),
        "operates_anywhere": SimpleLazyObject(lambda: _operates(request)),
        "administers_some": SimpleLazyObject(lambda: _administers_some(request)),
        "administers": SimpleLazyObject(lambda: _administers(request)),
        "dead_count": SimpleLazyObject(lambda: _dead_count(request)),
        "inbox_count": SimpleLazyObject(lambda: _inbox_count(request)),
        "notice_count": SimpleLazyObject(lambda: _notice_count(request)),
    }


def _operates(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated and operates(Actor.of(request)))


def _administers_some(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated and folders_for(Actor.of(request), Role.ADMIN) != [])


def _administers(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated and can(Actor.of(request), Role.ADMIN))


def _dead_count(request: HttpRequest) -> int:
    """Up to MOST_SHOWN and one more: a number nobody reads needs no counting."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return 0
    rows = dead_letters(Actor.of(request), Filter()).order_by("-dead_at")
    return len(rows.values_list("pk")[: MOST_SHOWN + 1])


def _inbox_count(request: HttpRequest) -> int:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return 0
    return mine_now(Actor.of(request), time.time()).count()


def _notice_count(request: HttpRequest) -> int:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return 0
    return unread(Actor.of(request))
