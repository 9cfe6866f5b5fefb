"""Pages of resources: the list, one of them with its preview, its bytes, links and retention."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from resources import artifacts, catalogue, keeping, links, previews, serve, uploads
from resources.access import Actor, can, folders_for, require_some_role
from resources.errors import Conflict, NotFound, OrchestraError
from resources.models import Artifact, Role
from resources.receiving.views import receive
from resources.resource_forms import KeepForm, UploadForm

PER_PAGE = 50
AGES = {"1d": ("Last day", 86400), "7d": ("Last week", 7 * 86400), "30d": ("Last 30 days", 30 * 86400)}
FILTERS = ("type", "origin", "label", "q", "age")


@login_required
@require_GET
def resource_list(request: HttpRequest) -> HttpResponse:
    actor = Actor.of(request)
    require_some_role(actor)
    asked = {name: request.GET.get(name, "")[:200].strip() for name in FILTERS}
    age = AGES.get(asked["age"])
    wanted = catalogue.Asked(
        asked["type"], asked["origin"], asked["label"], asked["q"], time.time() - age[1] if age else None
    )
    context: dict[str, Any] = {"asked": asked, "narrowed": any(asked.values()), "ages": AGES, "types": catalogue.TYPES}
    try:
        rows = catalogue.filtered(catalogue.visible(actor), wanted)
        page = catalogue.page(rows, cursor=request.GET.get("cursor"), limit=PER_PAGE)
        next_page = urlencode({**asked, "cursor": page.next_cursor}) if page.next_cursor else ""
        context |= {"rows": page.items, "next": next_page}
    except OrchestraError as error:
        context |= {"rows": [], "error": error}
    context |= {"section": "resources", "may_upload": folders_for(actor, Role.OPERATOR) != []}
    return render(request, "resources/resources.html", context, status=422 if "error" in context else 200)


def _seen(request: HttpRequest, artifact_id: str) -> Artifact:
    return artifacts.seen(Actor.of(request), artifact_id)


@login_required
@require_GET
def resource(request: HttpRequest, artifact_id: str) -> HttpResponse:
    return _page(request, _seen(request, artifact_id))


def _page(request: HttpRequest, row: Artifact, form: KeepForm | None = None, url: str = "") -> HttpResponse:
    context: dict[str, Any] = {"row": row, "section": "resources", "url": url, "filename": serve.filename(row)}
    context["operates"] = can(Actor.of(request), Role.OPERATOR, row.folder)
    context["form"] = form or KeepForm.of(row)
    context["form"].mark()
    try:
        context["shown"] = previews.show(row)
    except (OrchestraError, OSError) as error:
        context["broken"] = error.message if isinstance(error, OrchestraError) else "The storage cannot be read."
    return render(request, "resources/resource.html", context, status=422 if context["form"].errors else 200)


@login_required
@require_safe
def download(request: HttpRequest, artifact_id: str) -> HttpResponseBase:
    return serve.respond(request, _seen(request, artifact_id))


@login_required
@require_safe
def image(request: HttpRequest, artifact_id: str) -> HttpResponseBase:
    """For <img> of our own pages: only types that run nothing."""
    row = _seen(request, artifact_id)
    if row.media not in serve.IMAGES or previews.show(row).kind != "image":
        raise NotFound("It is not an image that pages show.")
    return serve.respond(request, row, inline=True)


@csrf_exempt  # what it may do is in the link; a session counts for nothing here
@require_http_methods(["GET", "HEAD", "PUT"])
def shared(request: HttpRequest, token: str) -> HttpResponseBase:
    """What a link gives to whoever has it, or takes from them."""
    if request.method == "PUT":
        return receive(request, token)
    row, inline = links.follow(token, method=str(request.method), now=time.time())
    return serve.respond(request, row, inline=inline)


@login_required
@require_POST
def link(request: HttpRequest, artifact_id: str) -> HttpResponse:
    url = links.issue_link(actor=Actor.of(request), artifact_id=artifact_id, now=time.time())
    return _page(request, _seen(request, artifact_id), url=url)


@login_required
@require_POST
def revoke(request: HttpRequest, artifact_id: str) -> HttpResponse:
    links.revoke_links(actor=Actor.of(request), artifact_id=artifact_id)
    messages.success(request, "All links to it are revoked.")
    return redirect("resource", artifact_id)


@login_required
@require_POST
def change(request: HttpRequest, artifact_id: str) -> HttpResponse:
    row = _seen(request, artifact_id)
    form = KeepForm(request.POST, row=row)
    if form.is_valid():
        try:
            keeping.update_resource(actor=Actor.of(request), artifact_id=row.pk, **form.changes())
        except OrchestraError as error:
            form.show(error)
    if form.errors:
        return _page(request, row, form)
    messages.success(request, "Saved.")
    return redirect("resource", row.pk)


@login_required
@require_POST
def delete(request: HttpRequest, artifact_id: str) -> HttpResponse:
    try:
        keeping.delete_resource(actor=Actor.of(request), artifact_id=artifact_id, now=time.time())
    except Conflict as error:
        messages.error(request, f"{error.message} {error.hint}")
        return redirect("resource", artifact_id)
    messages.success(request, "Deleted.")
    return redirect("resources")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            made = uploads.upload_resource(
                actor=Actor.of(request),
                chunks=file.chunks(),
                name=file.name,
                content_type=file.content_type or "",
                folder=form.cleaned_data["folder"],
            )
            messages.success(request, "Uploaded.")
            return redirect("resource", made.pk)
        except OrchestraError as error:
            form.show(error)
    form.mark()
    context = {"form": form, "section": "resources", "most": settings.MAX_UPLOAD_BYTES}
    context["largest"] = settings.MAX_RESOURCE_BYTES
    return render(request, "resources/upload.html", context, status=422 if form.errors else 200)
