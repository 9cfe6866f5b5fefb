"""API v1: roles given on folders, who may do what there, and why."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from resources import grants
from resources.access import require
from resources.api import Input, Text, actor_of, declared, iso
from resources.errors import BadInput
from resources.models import Grant, Role
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor
from resources.people import accounts, groups, listing
from resources.people.api import HeldOut, held
from resources.people.rules import ACTIONS, Verb, missing

router = Router(tags=["access"])
Json = Any


class GrantOut(Schema):
    id: int
    role: str
    folder: str = Field(description="It reaches all below; empty: everything.")
    user: str | None
    group: str | None
    reason: str
    created_by: str
    created_at: str | None = Field(description="null: before this was noted.")


class GrantsOut(Schema):
    items: list[GrantOut]
    next_cursor: str | None


class GrantIn(Input):
    role: Literal["viewer", "author", "operator", "reviewer", "revealer", "admin"]
    folder: Text = Field("", max_length=200, description="Empty: everything.")
    user: Text | None = Field(None, max_length=150, description="Either a user or a group.")
    group: Text | None = Field(None, max_length=100)
    reason: Text = Field("", max_length=500)


class MayOut(Schema):
    action: str
    because: list[HeldOut]


class AccessLineOut(Schema):
    user: str
    may: list[MayOut] = Field(description="What they may, and which grants say so.")


class AccessOut(Schema):
    folder: str
    items: list[AccessLineOut]


class ExplainOut(Schema):
    user: str
    action: str
    folder: str
    allowed: bool
    because: list[HeldOut] = Field(description="Every grant that says so.")
    message: str = Field(description="The same in a sentence.")


@router.get("/grants", response=declared((200, GrantsOut)))
def list_grants(
    request: HttpRequest, cursor: Text | None = None, limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
) -> dict[str, Json]:
    """On the folders that you administer, in the order they were given."""
    rows = listing.grants(actor_of(request)).order_by("pk")
    if cursor:
        rows = rows.filter(pk__gt=min(decode_cursor(cursor, int)[0], 2**62))
    found = list(rows[: limit + 1])
    more = encode_cursor(found[limit - 1].pk) if len(found) > limit else None
    return {"items": [_grant(row) for row in found[:limit]], "next_cursor": more}


@router.post("/grants", response=declared((201, GrantOut)))
def give_role(request: HttpRequest, body: GrantIn) -> Status[dict[str, Json]]:
    """Give a role to a user or a group. Admins of the folder. One that is there already stays as it is."""
    actor = actor_of(request)
    if (body.user is None) == (body.group is None):
        raise BadInput("A role is granted to one user or to one group.", hint="Name exactly one of the two.")
    folder = grants.check_folder(body.folder)
    require(actor, Role.ADMIN, folder)  # before names are looked up: they are nobody else's matter
    user = accounts.find(body.user) if body.user is not None else None
    group = groups.find(body.group) if body.group is not None else None
    row = grants.grant_role(actor=actor, role=body.role, folder=folder, user=user, group=group, reason=body.reason)
    return Status(201, _grant(row))


@router.delete("/grants/{grant_id}", response=declared((204, None), errors=(409,)))
def take_role(request: HttpRequest, grant_id: int, reason: str = Query("", max_length=500)) -> Status[None]:
    """Take a role back. Admins of its folder. 409 `last_admin`."""
    grants.revoke_grant(actor=actor_of(request), grant_id=grant_id, reason=reason)
    return Status(204, None)


@router.get("/access", response=declared((200, AccessOut)))
def get_access(request: HttpRequest, folder: str = Query("", max_length=200)) -> dict[str, Json]:
    """Who may do what on a folder, and why. Admins of it."""
    lines = listing.on_folder(actor_of(request), folder)
    items = [
        {
            "user": line.user.username,
            "may": [{"action": a, "because": [held(s) for s in why]} for a, why in line.may.items() if why],
        }
        for line in lines
    ]
    return {"folder": grants.check_folder(folder), "items": items}


@router.get("/access/explain", response=declared((200, ExplainOut)))
def explain(
    request: HttpRequest,
    action: Verb,
    folder: str = Query("", max_length=200),
    user: str | None = Query(None, max_length=150, description="Without it: you."),
) -> dict[str, Json]:
    """May they, and which grants say so? Oneself; others for admins of the folder."""
    actor = actor_of(request)
    if user is not None and user != actor.name:
        require(actor, Role.ADMIN, grants.check_folder(folder))
    whom = accounts.find(user if user is not None else actor.name)
    why = listing.explain(actor, whom, action, folder)
    said = "; ".join(source.says for source in why) if why else missing(action, folder.strip("/"))
    return {
        "user": whom.username, "action": action, "folder": folder.strip("/"), "allowed": bool(why),
        "because": [held(source) for source in why], "message": f"{ACTIONS[action][1]}: {said}",
    }  # fmt: skip


def _grant(row: Grant) -> dict[str, Json]:
    return {
        "id": row.pk, "role": row.role, "folder": row.folder, "reason": row.reason, "created_by": row.created_by,
        "user": row.user.get_username() if row.user else None, "group": row.group.name if row.group else None,
        "created_at": iso(row.created_at.timestamp()) if row.created_at else None,
    }  # fmt: skip
