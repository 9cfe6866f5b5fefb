"""What every page's frame needs. Lazy: a fragment without the frame asks the database nothing."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from approvals.queries import mine_now
from orchestra.load import operates
from resources.access import Actor


def shell(request: HttpRequest) -> dict[str, Any]:
    """`csp_nonce`, the theme from its cookie ("" follows the system), the host, the count on the inbox, whether the
    person operates anything."""
    theme = request.COOKIES.get("theme", "")
    return {
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "theme": theme if theme in ("light", "dark") else "",
        "host": request.get_host(),
        "operates_anywhere": SimpleLazyObject(lambda: _operates(request)),
        "inbox_count": SimpleLazyObject(lambda: _inbox_count(request)),
    }


def _operates(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated and operates(Actor.of(request)))


def _inbox_count(request: HttpRequest) -> int:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return 0
    return mine_now(Actor.of(request), time.time()).count()
