"""The page of links to upload to, and the address where a file arrives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from resources import artifacts
from resources.access import Actor, folders_for
from resources.envelope import error_response
from resources.errors import Conflict, NotAllowed, OrchestraError
from resources.forms import Inline, mono
from resources.models import Role
from resources.proxies import address_of
from resources.receiving import links
from resources.receiving.api import curl

LIVES = {"3600": "1 hour", "28800": "8 hours", "86400": "1 day", "604800": "7 days"}


class LinkForm(Inline):
    name = forms.CharField(max_length=200, widget=mono(), help_text="What the file will be called here.")
    folder = forms.CharField(
        required=False, max_length=200, widget=mono(), help_text="Whose viewers may read it. Empty: every folder's."
    )
    content_type = forms.CharField(
        label="Type", required=False, max_length=100, widget=mono(placeholder="any"),
        help_text="The only one that is taken, such as text/csv.",
    )  # fmt: skip
    max_mib = forms.IntegerField(
        label="At most, in MiB", min_value=1, widget=forms.NumberInput(attrs={"class": "input"})
    )
    expires_in = forms.ChoiceField(
        label="Open for", choices=list(LIVES.items()), widget=forms.Select(attrs={"class": "input"})
    )

    def field_of(self, path: str) -> str | None:
        return "max_mib" if path == "max_bytes" else super().field_of(path)

    def wanted(self) -> links.Wanted:
        data = self.cleaned_data
        return links.Wanted(
            name=data["name"], folder=data["folder"], content_type=data["content_type"],
            max_bytes=data["max_mib"] * 1024 * 1024, seconds=int(data["expires_in"]),
        )  # fmt: skip


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def upload_links(request: HttpRequest) -> HttpResponse:
    """The list; a POST issues one, whose address is shown this once."""
    actor, shown = Actor.of(request), dict[str, str]()
    form = LinkForm(request.POST or None, initial={"max_mib": max(1, settings.MAX_UPLOAD_BYTES // 1024**2)})
    if folders_for(actor, Role.OPERATOR) == []:
        raise NotAllowed("This needs the role operator on a folder.", hint="Ask an admin for it.")
    if request.method == "POST" and form.is_valid():
        try:
            row, url = links.issue_upload_link(actor=actor, wanted=form.wanted(), now=time.time())
            shown, form = {"url": url, "curl": curl(row, url)}, LinkForm(initial=form.cleaned_data)
        except OrchestraError as error:
            form.show(error)
    form.mark()
    context = {"form": form, "section": "resources", **shown, **_rows(request, actor)}
    return render(request, "resources/upload_links.html", context, status=422 if form.errors else 200)


def _rows(request: HttpRequest, actor: Actor) -> dict[str, Any]:
    page, now = links.listed(actor, cursor=request.GET.get("cursor")), time.time()
    return {"rows": [(row, row.state(now)) for row in page.items], "next": page.next_cursor}


@login_required
@require_POST
def revoke(request: HttpRequest, link_id: str) -> HttpResponse:
    try:
        row = links.revoke_upload_link(actor=Actor.of(request), link_id=link_id, now=time.time())
        messages.success(request, f"The link for {row.name} is revoked.")
    except Conflict as error:
        messages.error(request, f"{error.message} {error.hint}")
    return redirect("upload-links")


def receive(request: HttpRequest, token: str) -> HttpResponse:
    """PUT to a link. A program sends it: every answer is JSON."""
    try:
        made = links.receive(
            token=token, chunks=_pieces(request), content_type=request.headers.get("Content-Type", ""),
            address=address_of(request), now=time.time(),
        )  # fmt: skip
    except OrchestraError as error:
        return error_response(error)
    return JsonResponse({"resource": str(made), "size": made.size, "sha256": made.sha256}, status=201)


def _pieces(request: HttpRequest) -> Iterator[bytes]:
    while piece := request.read(artifacts.PIECE):
        yield piece
