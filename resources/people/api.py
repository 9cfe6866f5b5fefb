"""API v1: people and groups."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from resources.access import Actor
from resources.api import Input, Text, actor_of, declared, iso
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor
from resources.people import accounts, groups, listing
from resources.people.rules import Source

router = Router(tags=["people"])
Json = Any


class HeldOut(Schema):
    role: str
    folder: str = Field(description="It reaches all below; empty: everything.")
    group: str | None = Field(description="The group through which it comes.")
    grant_id: int | None = Field(description="null: a superuser, who may all.")
    reason: str


class PersonOut(Schema):
    name: str
    full_name: str
    active: bool
    roles: list[HeldOut] = Field(description="On the folders that you administer.")
    groups: list[str]
    email: str | None = Field(description="For admins of everything, like the next two.")
    last_sign_in: str | None
    invited: bool | None = Field(description="Has no password: must choose one by a link, or uses tokens only.")


class PeopleOut(Schema):
    items: list[PersonOut]
    next_cursor: str | None


class PersonIn(Input):
    name: Text = Field(max_length=150)
    email: Text = Field("", max_length=254)
    full_name: Text = Field("", max_length=150)
    reason: Text = Field("", max_length=500)


class PersonChange(Input):
    email: Text = Field(max_length=254)
    full_name: Text = Field(max_length=150)


class LinkedOut(PersonOut):
    link: str = Field(description="Shown this once: good once for choosing a password.")


class WhyIn(Input):
    reason: Text = Field("", max_length=500)


class SignOutIn(WhyIn):
    tokens: bool = Field(False, description="End their API tokens, too.")


class GroupIn(Input):
    name: Text = Field(max_length=100)


class GroupOut(Schema):
    name: str
    members: list[str]
    roles: list[HeldOut] = Field(description="On the folders that you administer.")


class GroupsOut(Schema):
    items: list[GroupOut]


@router.get("/people", response=declared((200, PeopleOut)))
def list_people(
    request: HttpRequest,
    q: str = Query("", max_length=100, description="Part of a name, or a whole e-mail address."),
    cursor: Text | None = None,
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Json]:
    """By name. Admins; of a folder: everybody's name, and the roles on it."""
    actor = actor_of(request)
    after = decode_cursor(cursor, str)[0] if cursor else ""
    rows, more = listing.people(actor, search=q, after=after, limit=limit)
    following = encode_cursor(rows[-1].user.username) if more else None
    return {"items": [_person(row, actor) for row in rows], "next_cursor": following}


@router.post("/people", response=declared((201, LinkedOut), errors=(409,)))
def invite_person(request: HttpRequest, body: PersonIn) -> Status[dict[str, Json]]:
    """A person without roles, and the link with which they choose a password. Admins. 409 `name_taken`."""
    actor = actor_of(request)
    user = accounts.invite_person(
        actor=actor, name=body.name, email=body.email, full_name=body.full_name, reason=body.reason
    )
    return Status(201, {**_one(actor, user.username), "link": accounts.link_for(user)})


@router.get("/people/{name}", response=declared((200, PersonOut)))
def get_person(request: HttpRequest, name: Text) -> dict[str, Json]:
    """One of them."""
    actor = actor_of(request)
    listing.require_some_admin(actor)
    return _one(actor, name)


@router.patch("/people/{name}", response=declared((200, PersonOut)))
def change_person(request: HttpRequest, name: Text, body: PersonChange) -> dict[str, Json]:
    """E-mail address and full name. Admins."""
    actor = actor_of(request)
    accounts.change_person(actor=actor, name=name, email=body.email, full_name=body.full_name)
    return _one(actor, name)


@router.post("/people/{name}/deactivate", response=declared((200, PersonOut), errors=(409,)))
def deactivate_person(request: HttpRequest, name: Text, body: WhyIn) -> dict[str, Json]:
    """Ends sessions and tokens; nobody signs in as them. Admins. 409 `yourself`, `last_admin`."""
    accounts.deactivate_person(actor=actor_of(request), name=name, reason=body.reason)
    return _one(actor_of(request), name)


@router.post("/people/{name}/reactivate", response=declared((200, PersonOut)))
def reactivate_person(request: HttpRequest, name: Text, body: WhyIn) -> dict[str, Json]:
    """They sign in as before; their tokens stay ended. Admins."""
    accounts.reactivate_person(actor=actor_of(request), name=name, reason=body.reason)
    return _one(actor_of(request), name)


@router.post("/people/{name}/sign-out", response=declared((200, PersonOut)))
def sign_out_person(request: HttpRequest, name: Text, body: SignOutIn) -> dict[str, Json]:
    """End their sessions everywhere. Admins."""
    accounts.sign_out_person(actor=actor_of(request), name=name, reason=body.reason, tokens=body.tokens)
    return _one(actor_of(request), name)


@router.post("/people/{name}/reset", response=declared((200, LinkedOut), errors=(409,)))
def reset_person(request: HttpRequest, name: Text, body: WhyIn) -> dict[str, Json]:
    """Their password is good no more; the link lets them choose another. Admins. 409 `switched_off`."""
    user = accounts.reset_person(actor=actor_of(request), name=name, reason=body.reason)
    return {**_one(actor_of(request), name), "link": accounts.link_for(user)}


@router.get("/groups", response=declared((200, GroupsOut)))
def list_groups(request: HttpRequest) -> dict[str, Json]:
    """By name. Admins of some folder."""
    return {"items": [_group(group) for group in listing.groups(actor_of(request))]}


@router.post("/groups", response=declared((201, GroupOut), errors=(409,)))
def create_group(request: HttpRequest, body: GroupIn) -> Status[dict[str, Json]]:
    """Without members and roles. Admins. 409 `name_taken`."""
    group = groups.create_group(actor=actor_of(request), name=body.name)
    return Status(201, {"name": group.name, "members": [], "roles": []})


@router.delete("/groups/{name}", response=declared((204, None), errors=(409,)))
def delete_group(request: HttpRequest, name: Text, reason: str = Query("", max_length=500)) -> Status[None]:
    """With the roles that it has. Admins. 409 `last_admin`."""
    groups.delete_group(actor=actor_of(request), name=name, reason=reason)
    return Status(204, None)


@router.put("/groups/{name}/members/{member}", response=declared((204, None)))
def add_member(request: HttpRequest, name: Text, member: Text) -> Status[None]:
    """Admins."""
    groups.add_member(actor=actor_of(request), name=name, member=member)
    return Status(204, None)


@router.delete("/groups/{name}/members/{member}", response=declared((204, None), errors=(409,)))
def remove_member(request: HttpRequest, name: Text, member: Text) -> Status[None]:
    """Admins. 409 `last_admin`."""
    groups.remove_member(actor=actor_of(request), name=name, member=member)
    return Status(204, None)


def held(source: Source) -> dict[str, Json]:
    return {
        "role": source.role, "folder": source.folder, "group": source.group or None, "grant_id": source.grant,
        "reason": source.reason,
    }  # fmt: skip


def _one(actor: Actor, name: str) -> dict[str, Json]:
    return _person(listing.row_of(actor, accounts.find(name)), actor)


def _person(row: listing.Row, actor: Actor) -> dict[str, Json]:
    user, whole = row.user, listing.may_manage(actor)
    signed_in = iso(user.last_login.timestamp()) if user.last_login else None
    return {
        "name": user.username, "full_name": user.get_full_name(), "active": user.is_active,
        "roles": [held(source) for source in row.sources], "groups": row.groups,
        "email": user.email if whole else None, "last_sign_in": signed_in if whole else None,
        "invited": not user.has_usable_password() if whole else None,
    }  # fmt: skip


def _group(group: Group) -> dict[str, Json]:
    grants = group.grants.all()
    roles = [held(Source(row.role, row.folder, "", row.pk, row.reason)) for row in grants]
    return {"name": group.name, "members": [user.username for user in group.user_set.all()], "roles": roles}
