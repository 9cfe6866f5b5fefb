"""The page of the search: as one types, grouped by what was found."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from resources.access import Actor, folders_for
from resources.errors import OrchestraError
from runs import clock
from runs.search import hits
from runs.search.finding import KINDS, MAX_LIMIT, Asked

HEADINGS = {"flow": "Flows", "run": "Runs", "resource": "Resources", "connection": "Connections"}
ICONS = {"flow": "flow", "run": "runs", "resource": "bucket", "connection": "plug"}
AGES = {"1d": ("Last day", 86400.0), "7d": ("Last week", 7 * 86400.0), "30d": ("Last 30 days", 30 * 86400.0)}
STATUSES = {"open": "Open", "succeeded": "Succeeded", "failed": "Failed", "cancelled": "Cancelled",
            "timed_out": "Timed out", "live": "Live flows", "draft": "Drafts"}  # fmt: skip


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def search_page(request: HttpRequest) -> HttpResponse:
    actor = Actor.of(request)
    given = {name: request.GET.get(name, "")[:1000].strip() for name in ("q", "in", "status", "age", "folder", "label")}
    given["q"] = request.GET.get("q", "")[:1000].lstrip()  # a blank at its end: the last word is whole
    context = {"asked": given, "section": "search", "kinds": HEADINGS, "plural": KINDS, "ages": AGES,
               "statuses": STATUSES, "no_role": folders_for(actor, "viewer") == []}  # fmt: skip
    if given["q"].strip() and not context["no_role"]:
        context |= _found(actor, given, request.GET.get("cursor", ""), clock.now())
    live = request.headers.get("HX-Target") == "hits"
    return render(request, "search/_hits.html" if live else "search/search.html", context)


def _found(actor: Actor, given: dict[str, str], cursor: str, now: float) -> dict[str, Any]:
    age = AGES.get(given["age"])
    kinds = (given["in"],) if given["in"] else ()
    asked = Asked(given["q"], kinds, "", given["folder"], given["label"], given["status"],
                  _hour(now - age[1]) if age else None, None, MAX_LIMIT, cursor)  # fmt: skip
    try:
        answer = hits.search(actor, asked)
    except OrchestraError as error:
        return {"error": error}
    following = urlencode({**{k: v for k, v in given.items() if v}, "cursor": answer.next_cursor or ""})
    return {"answer": answer, "groups": _groups(answer.hits), "next": following if answer.next_cursor else ""}


def _hour(at: float) -> float:
    """Of whole hours: the pages of one question ask the same."""
    return at - at % 3600.0


def _groups(found: list[hits.Hit]) -> list[dict[str, Any]]:
    """The kind of the best hit first; within a kind the best first."""
    kinds = dict.fromkeys(hit.kind for hit in found)
    return [
        {"kind": kind, "heading": HEADINGS[kind], "icon": ICONS[kind], "hits": [h for h in found if h.kind == kind]}
        for kind in kinds
    ]
