"""Pages of the audit log: the list with its filters, one entry, the check of the whole chain, the files."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from resources.access import Actor
from resources.errors import NotFound, OrchestraError
from resources.models import AuditEntry
from resources.trail import detail, query
from resources.trail.api import checked, file_of

PER_PAGE: Final = 50
AGES: Final = {"1h": ("Last hour", 3600), "1d": ("Last day", 86400), "7d": ("Last week", 7 * 86400),
               "30d": ("Last 30 days", 30 * 86400)}  # fmt: skip
TEXTS: Final = ("actor", "action", "object_type", "object_id", "address", "q")
FILTERS: Final = (*TEXTS, "age")
SECTION: Final = {"section": "audit"}
#: type of an object -> the name of its page's address
_PAGES: Final = {
    "flow": "flow", "run": "run", "approval": "approval", "connection": "connection-edit", "secret": "secret-edit",
    "resource": "resource", "replay": "replay", "subscription": "subscription",
}  # fmt: skip


def _asked(request: HttpRequest) -> tuple[dict[str, str], query.Asked]:
    """What the address asks for, as text and as a filter; an unknown age is none."""
    given = {name: request.GET.get(name, "")[:200].strip() for name in FILTERS}
    age = AGES.get(given["age"])
    texts: dict[str, Any] = {name: given[name] for name in TEXTS}
    return given, query.Asked(**texts, since=time.time() - age[1] if age else None)


@require_safe
@login_required
@never_cache
def entry_list(request: HttpRequest) -> HttpResponse:
    given, asked = _asked(request)
    rows = query.entries(Actor.of(request), asked)
    context: dict[str, Any] = {"asked": given, "narrowed": asked.narrowed, "ages": AGES, "now": time.time(), **SECTION}
    try:
        page = query.page(rows, cursor=request.GET.get("cursor"), limit=PER_PAGE)
    except OrchestraError as error:
        return render(request, "resources/audit.html", {**context, "error": error, "rows": []}, status=error.status)
    kept = {name: text for name, text in given.items() if text}
    context |= {
        "rows": [shown(row) for row in page.items],
        "findings": query.glance(page.items),
        "actions": AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()[:500],
        "types": AuditEntry.objects.order_by("object_type").values_list("object_type", flat=True).distinct()[:100],
        "next": urlencode({**kept, "cursor": page.next_cursor}) if page.next_cursor else "",
        "first": urlencode(kept) if request.GET.get("cursor") else None,
        "query": urlencode(kept),
    }
    return render(request, "resources/audit.html", context)


def shown(row: AuditEntry) -> dict[str, Any]:
    changes = detail.changes(row.data)
    return {"row": row, "at": row.at.timestamp(), "reason": detail.reason(row.data), "changes": changes,
            "paths": [change.path for change in changes if change.path][:4]}  # fmt: skip


@require_safe
@login_required
@never_cache
def entry(request: HttpRequest, seq: int) -> HttpResponse:
    row = query.entry(Actor.of(request), seq)
    context = {**shown(row), "rest": detail.rest(row.data), "page": page_of(row), "findings": query.glance([row])}
    around = AuditEntry.objects.filter(object_type=row.object_type, object_id=row.object_id)
    context["earlier"] = around.filter(seq__lt=seq).order_by("-seq").values_list("seq", flat=True).first()
    context["later"] = around.filter(seq__gt=seq).order_by("seq").values_list("seq", flat=True).first()
    return render(request, "resources/audit_entry.html", {**context, **SECTION})


def page_of(row: AuditEntry) -> str:
    """The page of the object, if there is one for its type; the object may be gone."""
    try:
        return reverse(_PAGES[row.object_type], args=[row.object_id]) if row.object_type in _PAGES else ""
    except NoReverseMatch:
        return ""


@require_safe
@login_required
@never_cache
def check(request: HttpRequest) -> HttpResponse:
    """Reads all of it, so it is a page of its own."""
    return render(request, "resources/audit_check.html", {**checked(Actor.of(request)), "now": time.time(), **SECTION})


@require_safe
@login_required
def export(request: HttpRequest, kind: str) -> HttpResponseBase:
    if kind not in ("jsonl", "csv"):
        raise NotFound("The audit log is exported as jsonl or csv.")
    return file_of(Actor.of(request), _asked(request)[1], "csv" if kind == "csv" else "jsonl")
