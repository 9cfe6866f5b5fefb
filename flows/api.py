"""API v1: flows, drafts, releases, lint."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Header

from flows import actions
from flows.definition.lint import lint
from flows.known import known_names
from flows.models import Draft, Flow, Release
from resources.api import YAML, Input, Text, actor_of, declared, name_of, yaml_body
from resources.errors import BadInput, PreconditionRequired

router = Router(tags=["flows"])
TAKES_YAML: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {YAML: {"schema": {}, "example": "flow: hello\nsteps:\n  - {id: nap, sleep: 1s}\n"}},
    }
}
_ETAG = re.compile(r'\s*(?:W/)?"?r?(\d{1,9})"?\s*', re.ASCII)


class ProblemOut(Schema):
    rule: str
    severity: str
    line: int
    column: int
    message: str
    hint: str


class LintOut(Schema):
    problems: list[ProblemOut]


class FlowOut(Schema):
    slug: str
    folder: str
    title: str
    revision: int
    live: str | None = Field(description="The live release's version.")
    problems: list[ProblemOut]


class DraftOut(Schema):
    slug: str
    revision: int
    source: str
    updated_by: str | None
    updated_at: str
    problems: list[ProblemOut]


class ReleaseIn(Input):
    version: Text = Field(description="A semantic version newer than the newest release, without v.")
    notes: Text = Field("", max_length=actions.MAX_NOTES)
    live: bool = Field(False, description="Make it live at once.")


class ReleaseOut(Schema):
    flow: str
    version: str
    live: bool
    language: int
    checksum: str
    notes: str
    revision: int
    released_by: str | None
    released_at: str


@router.post("/flows", response=declared((201, FlowOut), errors=(409, 415)), openapi_extra=TAKES_YAML)
def create_flow(request: HttpRequest) -> Status[dict[str, Any]]:
    """Create a flow from its YAML. Lint problems are listed and do not stop it; an unreadable text does."""
    flow = actions.create_flow(actor=actor_of(request), source=yaml_body(request))
    return Status(201, _flow(flow, flow.draft))


@router.get(
    "/flows/{slug}/draft",
    response=declared((200, DraftOut)),
    openapi_extra={"responses": {200: {"content": {YAML: {"schema": {"type": "string"}}}}}},
)
def get_draft(request: HttpRequest, slug: str, response: HttpResponse) -> HttpResponse | dict[str, Any]:
    """The draft as YAML, or with `Accept: application/json` its facts too. `ETag` is its revision."""
    draft = actions.visible_flow(actor_of(request), slug).draft
    if request.get_preferred_type([YAML, "application/json"]) == "application/json":
        response["ETag"] = _etag(draft)
        return _draft(slug, draft)
    return HttpResponse(draft.source, content_type=YAML, headers={"ETag": _etag(draft)})


@router.put("/flows/{slug}/draft", response=declared((200, DraftOut), errors=(412, 415, 428)), openapi_extra=TAKES_YAML)
def put_draft(
    request: HttpRequest, slug: str, response: HttpResponse, if_match: str | None = Header(None, alias="If-Match")
) -> dict[str, Any]:
    """Save the draft. `If-Match` is the `ETag` the text is based on; 412 tells who saved meanwhile."""
    draft = actions.save_draft(
        actor=actor_of(request), slug=slug, source=yaml_body(request), revision=_revision(if_match)
    )
    response["ETag"] = _etag(draft)
    return _draft(slug, draft)


@router.post("/lint", response=declared((200, LintOut), errors=(415,)), openapi_extra=TAKES_YAML)
def lint_source(request: HttpRequest) -> dict[str, Any]:
    """Everything that is wrong with a text, with line, column and mend. Keeps nothing."""
    return {"problems": _problems(yaml_body(request))}


@router.post("/flows/{slug}/releases", response=declared((201, ReleaseOut), errors=(409, 412)))
def create_release(request: HttpRequest, slug: str, body: ReleaseIn) -> Status[dict[str, Any]]:
    """Release the draft. A release never changes."""
    actor = actor_of(request)
    release = actions.release_draft(actor=actor, slug=slug, version=body.version, notes=body.notes, live=body.live)
    return Status(201, _release(release))


def _revision(if_match: str | None) -> int:
    if if_match is None:
        raise PreconditionRequired(
            "Say which revision the text is based on.", hint="Send the draft's ETag back in the header If-Match."
        )
    match = _ETAG.fullmatch(if_match)
    if match is None:
        raise BadInput(f"If-Match: {if_match[:80]!r} is no draft revision.", code="bad_if_match")
    return int(match[1])


def _etag(draft: Draft) -> str:
    return f'"{draft.revision}"'


def _problems(source: str) -> list[dict[str, Any]]:
    return [p.to_json() for p in lint(source, known=known_names())]


def _flow(flow: Flow, draft: Draft) -> dict[str, Any]:
    return {
        "slug": flow.slug,
        "folder": flow.folder,
        "title": flow.title,
        "revision": draft.revision,
        "live": flow.live.version if flow.live else None,
        "problems": _problems(draft.source),
    }


def _draft(slug: str, draft: Draft) -> dict[str, Any]:
    return {
        "slug": slug,
        "revision": draft.revision,
        "source": draft.source,
        "updated_by": name_of(draft.updated_by),
        "updated_at": draft.updated_at.isoformat(),
        "problems": _problems(draft.source),
    }


def _release(release: Release) -> dict[str, Any]:
    return {
        "flow": release.flow.slug,
        "version": release.version,
        "live": release.flow.live_id == release.pk,
        "language": release.language,
        "checksum": release.checksum,
        "notes": release.notes,
        "revision": release.revision,
        "released_by": name_of(release.released_by),
        "released_at": release.released_at.isoformat(),
    }
