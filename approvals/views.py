"""Inbox and requests. A fragment is asked for at the page's own address, named by HX-Target."""

from __future__ import annotations

import time
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from approvals import formfields, pages, veiled
from approvals.actions import decide_request, preview
from approvals.models import ApprovalRequest
from resources.access import Actor
from resources.errors import BadInput, NotFound, OrchestraError

_INBOX_PARTS = {"inbox-watch": "approvals/_counts.html", "inbox-live": "approvals/_list.html"}
_DETAIL_PARTS = {"detail": "approvals/_detail.html", "request-live": "approvals/_live.html"}


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def inbox(request: HttpRequest) -> HttpResponse:
    part = _INBOX_PARTS.get(request.headers.get("HX-Target", ""))
    if part == "approvals/_counts.html":
        return render(request, part)
    page = pages.inbox_page(
        Actor.of(request), now=time.time(), at=_at(request), selected=request.GET.get("selected", "")
    )
    return render(request, part or "approvals/inbox.html", {**page, "section": "inbox"})


def _at(request: HttpRequest) -> float | None:
    try:
        return float(request.GET["at"])
    except (KeyError, ValueError):
        return None


def _found(request: HttpRequest, request_id: str) -> tuple[Actor, ApprovalRequest]:
    actor = Actor.of(request)
    try:
        return actor, pages.find_request(actor, request_id)
    except NotFound as error:
        raise Http404(error.message) from error


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def approval(request: HttpRequest, request_id: str) -> HttpResponse:
    actor, row = _found(request, request_id)
    part = _DETAIL_PARTS.get(request.headers.get("HX-Target", ""))
    return _show(request, actor, row, part=part, code=request.GET.get("problem", ""))


def _show(
    request: HttpRequest, actor: Actor, row: ApprovalRequest, *, part: str | None = None, status: int = 200, **more: Any
) -> HttpResponse:
    page = {**pages.request_page(actor, row), "section": "inbox", **more}
    if part is None:
        page = {**pages.inbox_page(actor, now=page["now"], selected=row.pk), **page}
    return render(request, part or "approvals/request.html", page, status=status)


@require_safe
@login_required
@never_cache
def effect(request: HttpRequest, request_id: str) -> HttpResponse:
    """What would happen with these form values, and its digest; nothing is written."""
    actor, row = _found(request, request_id)
    form = formfields.answer_of(row.form_schema, request.GET.dict())
    try:
        actions, digest = preview(actor=actor, request_id=row.pk, form=form)
    except OrchestraError as error:
        return render(request, "approvals/_effect.html", {"problem": error.message, "row": row})
    return render(
        request,
        "approvals/_effect.html",
        {**pages.effect_of(veiled.actions(veiled.veil_of(row), actions), digest), "row": row, "oob": True},
    )


@require_POST
@login_required
def decide(request: HttpRequest, request_id: str) -> HttpResponse:
    actor, row = _found(request, request_id)
    verdict, comment = request.POST.get("verdict", ""), request.POST.get("comment", "").strip()
    form = formfields.answer_of(row.form_schema, request.POST.dict())
    try:
        _confirm(row, verdict, request.POST.get("confirm", ""))
        digest, answer = request.POST.get("digest", ""), form if verdict == "approve" else None
        decided = decide_request(
            actor=actor, request_id=row.pk, verdict=verdict, digest=digest, comment=comment, form=answer
        )
    except BadInput as error:
        fields = formfields.fields_of(row.form_schema, form)
        return _show(request, actor, row, status=error.status, problem=error, fields=fields, comment=comment)
    except OrchestraError as error:
        messages.error(request, f"{error.message} {error.hint}".strip())
        return redirect(f"/approvals/{row.pk}?problem={error.stable_code}")
    messages.success(request, _said(verdict, decided))
    return redirect("approval", row.pk)


def _confirm(row: ApprovalRequest, verdict: str, typed: str) -> None:
    """Raises BadInput unless an irreversible approval came with the target's name; the page asks, this insists."""
    if verdict not in ("approve", "reject"):
        raise BadInput("Choose to approve or to reject.", code="unknown_verdict")
    target = row.run.flow.slug if row.run else row.step
    if verdict == "approve" and row.irreversible and typed.strip() != target:
        raise BadInput(f"Type {target} to confirm: this cannot be undone.", code="not_confirmed")


def _said(verdict: str, decided: ApprovalRequest) -> str:
    if verdict == "reject":
        return "Rejected. Your reason is kept with the run."
    return "Approved. The run goes on." if decided.status == "approved" else "Approved. It needs more approvals."
