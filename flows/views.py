"""Pages where flows are written: new, editor, release, make live; and what the editor asks the server."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from flows import actions
from flows.definition.lint import lint
from flows.definition.schema import json_schema
from flows.editor import Entered, editor_page, present
from flows.headline import MAX_BYTES
from flows.known import known_names
from flows.offers import BY_NAME
from flows.sketch import sketch
from flows.starters import STARTERS
from flows.template_views import choices
from resources.access import Actor
from resources.envelope import error_response
from resources.errors import OrchestraError, PreconditionFailed, TooLarge


@login_required
@require_http_methods(["GET", "POST"])
def new_flow(request: HttpRequest) -> HttpResponse:
    """Slug, title, folder and a text to start from."""
    entered = {key: request.POST.get(key, "").strip() for key in ("slug", "title", "folder", "starter")}
    error = None
    if request.method == "POST":
        starter = BY_NAME.get(entered["starter"], STARTERS[0])
        source = starter.source(slug=entered["slug"], title=entered["title"], folder=entered["folder"])
        try:
            flow = actions.create_flow(actor=Actor.of(request), source=source)
            return redirect("flow-edit", flow.slug)
        except OrchestraError as refusal:
            error = refusal
    context = {"section": "flows", "choices": choices(), "entered": entered, "error": error}
    context["chosen"] = entered["starter"] or request.GET.get("starter") or STARTERS[0].name
    return render(request, "flows/new.html", context, status=error.status if error else 200)


@login_required
@require_http_methods(["GET", "POST"])
def edit_flow(request: HttpRequest, slug: str) -> HttpResponse:
    """The editor; a POST saves the draft, from the script (JSON) or as a plain form."""
    if request.method == "POST":
        return _save(request, slug)
    return _editor(request, slug)


def _save(request: HttpRequest, slug: str) -> HttpResponse:
    source = request.POST.get("source", "").replace("\r\n", "\n")
    try:
        draft = actions.save_draft(
            actor=Actor.of(request), slug=slug, source=source, revision=_number(request.POST.get("revision"))
        )
    except OrchestraError as refusal:
        if _wants_json(request):
            return error_response(refusal)
        return _editor(request, slug, _not_saved(source, refusal), status=refusal.status)
    if _wants_json(request):
        return JsonResponse({"revision": draft.revision, "updated_at": draft.updated_at.timestamp()})
    messages.success(request, f"Saved as revision {draft.revision}.")
    return redirect("flow-edit", slug)


def _not_saved(source: str, refusal: OrchestraError) -> Entered:
    if isinstance(refusal, PreconditionFailed):
        return Entered(source=source, conflict=refusal)
    return Entered(source=source, save_error=f"{refusal.message} {refusal.hint}".strip())


@login_required
@require_POST
def release_flow(request: HttpRequest, slug: str) -> HttpResponse:
    """Release the draft as it was saved; what is wrong is told in the panel."""
    version = request.POST.get("version", "").strip()
    if version == "other":
        version = request.POST.get("other", "").strip().removeprefix("v")
    entered = Entered(version=version, notes=request.POST.get("notes", ""), live="live" in request.POST)
    try:
        actions.release_draft(
            actor=Actor.of(request),
            slug=slug,
            version=version,
            notes=entered.notes,
            live=entered.live,
            revision=_number(request.POST.get("revision")),
        )
    except OrchestraError as refusal:
        entered.release_error, entered.release_hint = refusal.message, refusal.hint
        return _editor(request, slug, entered, status=refusal.status)
    messages.success(request, f"Released {version}{' and made it live' if entered.live else ''}.")
    return redirect("flow", slug)


@login_required
@require_POST
def make_live(request: HttpRequest, slug: str) -> HttpResponse:
    """New runs get this release from now on."""
    release = actions.make_live(actor=Actor.of(request), slug=slug, version=request.POST.get("version", ""))
    messages.success(request, f"{release.version} is live. Runs that started keep their release.")
    return redirect("flow", slug)


@login_required
@require_POST
def check_source(request: HttpRequest) -> HttpResponse:
    """Lint and graph of a text, while it is typed. Keeps nothing."""
    source = request.POST.get("source", "")
    if len(source.encode(errors="surrogatepass")) > MAX_BYTES:
        return error_response(TooLarge(f"A flow may have {MAX_BYTES // 1024} KiB."))
    problems = [present(p) for p in lint(source, known=known_names())]
    return JsonResponse({"problems": problems, "graph": sketch(source)})


@login_required
@require_GET
@cache_control(private=True, max_age=300)
def schema(request: HttpRequest) -> HttpResponse:
    """JSON Schema of the language: what the editor completes from."""
    return JsonResponse(json_schema())


def _editor(request: HttpRequest, slug: str, entered: Entered | None = None, status: int = 200) -> HttpResponse:
    actor = Actor.of(request)
    flow = actions.visible_flow(actor, slug)
    return render(request, "flows/edit.html", editor_page(actor, flow, entered), status=status)


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0
