"""API v1: the templates that a new flow can start from."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema

from flows.known import known_names
from flows.offers import BY_NAME, needs_of
from resources.access import require_some_role
from resources.api import actor_of, declared

router = Router(tags=["flows"])


class NeedOut(Schema):
    kind: Literal["connection", "secret", "group", "variable", "runner"]
    name: str
    type: str = Field(description="The kind of the connection, else empty.")
    why: str
    there: bool | None = Field(description="One of this name exists; null: of a runner, which is not known.")


class TemplateOut(Schema):
    name: str
    title: str
    summary: str
    needs: list[NeedOut] = Field(description="What must be made before it can run.")
    source: str = Field(description="Valid YAML. Change flow, title and folder, and give it to POST /flows.")


class TemplatesOut(Schema):
    items: list[TemplateOut]


@router.get("/flow-templates", response=declared((200, TemplatesOut)))
def list_templates(request: HttpRequest) -> dict[str, Any]:
    """All of them, whole."""
    require_some_role(actor_of(request))
    known = known_names()
    items = [
        {
            "name": starter.name,
            "title": starter.title,
            "summary": starter.summary,
            "needs": [
                {"kind": n.kind, "name": n.name, "type": n.type, "why": n.why, "there": n.is_there(known)}
                for n in needs_of(starter.text)
            ],
            "source": starter.shown,
        }
        for starter in BY_NAME.values()
    ]
    return {"items": items}
