"""API v1: API tokens."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from resources import tokens
from resources.api import Input, Text, actor_of, declared, iso
from resources.models import ApiToken

router = Router(tags=["access"])
Json = Any


class ApiTokenOut(Schema):
    id: int
    user: str
    name: str
    prefix: str
    scopes: list[str] = Field(description="role or role:folder; empty: all that its user may.")
    created_at: str
    expires_at: str | None
    last_used_at: str | None = Field(description="Within a minute.")
    last_used_from: str
    this: bool = Field(description="The one that asks.")


class NewApiTokenOut(ApiTokenOut):
    token: str = Field(description="Shown this once.")


class ApiTokensOut(Schema):
    items: list[ApiTokenOut]


class ApiTokenIn(Input):
    name: Text = Field(max_length=100)
    scopes: list[Text] = Field(default_factory=list, max_length=50, description="Such as viewer, operator:payments.")
    days: int | None = Field(None, ge=1, le=tokens.MAX_DAYS, description="Until it ends; null: as the instance says.")


@router.get("/tokens", response=declared((200, ApiTokensOut)))
def list_api_tokens(
    request: HttpRequest,
    others: bool = Query(False, description="Those of other people that reach no further than what you administer."),
) -> dict[str, Json]:
    """Your own, the newest first."""
    actor, now = actor_of(request), timezone.now()
    rows = tokens.of_others(actor, now) if others else tokens.own(actor, now)
    this = actor.token.pk if actor.token is not None else None
    return {"items": [_token(row, this) for row in rows]}


@router.post("/tokens", response=declared((201, NewApiTokenOut)))
def create_api_token(request: HttpRequest, body: ApiTokenIn) -> Status[dict[str, Json]]:
    """A token of your own. Made with a token: it may no more than that one, and ends no later."""
    actor = actor_of(request)
    token, plain = tokens.create_token(actor=actor, user=actor.user, name=body.name, scopes=body.scopes, days=body.days)
    return Status(201, {**_token(token, None), "token": plain})


@router.delete("/tokens/{token_id}", response=declared((204, None)))
def revoke_api_token(request: HttpRequest, token_id: int) -> Status[None]:
    """End it at once: your own, or one that reaches no further than what you administer."""
    tokens.revoke_token(actor=actor_of(request), token_id=token_id)
    return Status(204, None)


def _token(row: ApiToken, this: int | None) -> dict[str, Json]:
    return {
        "id": row.pk, "user": row.user.get_username(), "name": row.name, "prefix": row.prefix, "scopes": row.scopes,
        "created_at": iso(row.created_at.timestamp()),
        "expires_at": iso(row.expires_at.timestamp()) if row.expires_at else None,
        "last_used_at": iso(row.last_used_at.timestamp()) if row.last_used_at else None,
        "last_used_from": row.last_used_from, "this": row.pk == this,
    }  # fmt: skip
