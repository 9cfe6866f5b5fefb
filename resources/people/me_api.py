"""API v1: oneself."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from resources.api import Input, Text, actor_of, declared, iso
from resources.people import accounts, listing, own
from resources.people.api import HeldOut, held

router = Router(tags=["people"])
Json = Any


class MeOut(Schema):
    name: str
    kind: str = Field(description="user, or token.")
    full_name: str
    groups: list[str]
    roles: list[HeldOut]
    scopes: list[str] = Field(description="What the token that asks is narrowed to; empty: not narrowed.")
    token_ends_at: str | None
    everything: bool = Field(description="Administers everything, as far as the token's scopes go.")


class EndedSessionsOut(Schema):
    sessions: int


class PasswordIn(Input):
    current: Text = Field(max_length=1000)
    password: Text = Field(max_length=1000)


@router.get("/me", response=declared((200, MeOut)))
def get_me(request: HttpRequest) -> dict[str, Json]:
    """Who asks, and what they may."""
    actor = actor_of(request)
    row = listing.row_of(actor, actor.user)
    ends = actor.token.expires_at if actor.token is not None else None
    return {
        "name": row.user.username, "kind": actor.kind, "full_name": row.user.get_full_name(), "groups": row.groups,
        "roles": [held(source) for source in row.sources], "scopes": list(actor.scopes),
        "token_ends_at": iso(ends.timestamp()) if ends else None, "everything": listing.may_manage(actor),
    }  # fmt: skip


@router.delete("/me/sessions", response=declared((200, EndedSessionsOut)))
def end_sessions(request: HttpRequest) -> dict[str, int]:
    """Sign out everywhere else."""
    actor = actor_of(request)
    mine = request.session.session_key if actor.kind == "user" else None
    return {"sessions": accounts.sign_out_elsewhere(actor=actor, session=mine)}


@router.post("/me/password", response=declared((204, None)))
def change_my_password(request: HttpRequest, body: PasswordIn) -> Status[None]:
    """Choose another password. All other sessions end; tokens stay."""
    actor = actor_of(request)
    mine = request.session.session_key if actor.kind == "user" else None
    user = own.change_password(actor=actor, current=body.current, password=body.password, session=mine, now=time.time())
    if mine:
        update_session_auth_hash(request, user)
    return Status(204, None)
