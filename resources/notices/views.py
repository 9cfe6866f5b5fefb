"""The page of one's notices. A fragment is asked for at the page's own address, named by HX-Target."""

from __future__ import annotations

import math
import time

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from resources.access import Actor
from resources.errors import BadInput
from resources.markdown import html_of
from resources.models import Notice
from resources.notices import inbox
from resources.notices.kinds import KINDS

_PER_PAGE = 30


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def notice_list(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Target") == "bell-watch":
        return render(request, "notices/_counts.html")
    actor, only = Actor.of(request), request.GET.get("show") == "unread"
    rows, following = inbox.page(actor, only_unread=only, cursor=request.GET.get("cursor"), limit=_PER_PAGE)
    chosen = inbox.chosen(actor)
    context = {
        "items": [_item(row) for row in rows],
        "next": following,
        "only_unread": only,
        "older": "cursor" in request.GET,
        "unread": inbox.unread(actor),
        "newest": rows[0].at if rows else 0,
        "kinds": [
            {"name": name, "title": title, "told": name not in chosen.muted, "mailed": name in chosen.mailed}
            for name, title in KINDS.items()
        ],
        "no_mail": inbox.why_no_mail(actor),
    }
    return render(request, "notices/list.html", {**context, "section": "notices", "now": time.time()})


def _item(row: Notice) -> dict[str, object]:
    return {
        "id": row.pk,
        "title": row.title,
        "html": SafeString(html_of(row.text)) if row.text else "",
        "url": row.url,
        "at": row.at,
        "unread": row.read_at is None,
        "kind": KINDS.get(row.kind, row.kind),
    }


@require_POST
@login_required
def notice_read(request: HttpRequest, notice_id: int) -> HttpResponse:
    """Marks it, and leads where it points."""
    row = inbox.mark_read(actor=Actor.of(request), notice_id=notice_id, now=time.time())
    return redirect(row.url if row.url and "open" in request.POST else "notices")


@require_POST
@login_required
def notices_read(request: HttpRequest) -> HttpResponse:
    try:
        up_to = float(request.POST.get("up_to", ""))
    except ValueError as error:
        raise BadInput("The page did not say until when.", hint="Load the page again.") from error
    if not math.isfinite(up_to):
        raise BadInput("The page did not say until when.", hint="Load the page again.")
    n = inbox.mark_all_read(actor=Actor.of(request), up_to=up_to, now=time.time())
    messages.success(request, f"{n} notice{'' if n == 1 else 's'} marked as read.")
    return redirect("notices")


@require_POST
@login_required
def notice_settings(request: HttpRequest) -> HttpResponse:
    told, mailed = (set(request.POST.getlist(name)) for name in ("told", "mailed"))
    muted = [name for name in KINDS if name not in told | mailed]  # what comes by e-mail is in the product, too
    inbox.choose(actor=Actor.of(request), muted=muted, mailed=mailed)
    messages.success(request, "Saved. It counts for what comes from now on.")
    return redirect("notices")
