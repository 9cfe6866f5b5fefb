"""API v1: secrets. Everybody with a role sees that they exist, admins change; no value ever comes back."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from resources import backends, secret_trials, secret_versions, secrets, usage, warnings
from resources.access import Actor, can, require, require_some_role
from resources.api import Input, Text, actor_of, declared, iso
from resources.errors import BadInput
from resources.models import Role, Secret, SecretVersion
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT, decode_cursor, encode_cursor
from resources.secret_age import LONGEST, age_of
from resources.secret_versions import MAX_OVERLAP

router = Router(tags=["secrets"])

Json = Any
OVERLAP = Field(0.0, ge=0, le=MAX_OVERLAP, description="Seconds for which the value before is accepted, too.")


class SecretIn(Input):
    value: str | None = Field(None, description="Text of 1 to 65,536 bytes. Either this, or `source` and `locator`.")
    source: Literal["env", "vault"] | None = Field(None, description="Where the value is kept instead.")
    locator: dict[str, Json] | None = Field(None, description="{variable}, or {mount, path, field, version}.")
    overlap: float = OVERLAP
    new: bool = Field(False, description="409 `secret_exists` instead of a new version.")


class ReminderIn(Input):
    rotate_days: int | None = Field(ge=1, le=LONGEST, description="null: nobody is reminded.")


class RestoreIn(Input):
    overlap: float = OVERLAP


class VersionOut(Schema):
    version: int
    state: Literal["current", "accepted", "former", "erased", "revoked"]
    source: Literal["stored", "env", "vault"]
    last4: str
    restores: int | None = Field(description="The version whose value it has again.")
    created_at: str
    created_by: str
    valid_until: str | None = Field(description="Accepted beside the current one until then.")
    revoked_at: str | None
    revoked_by: str


class SecretOut(Schema):
    name: str
    source: Literal["stored", "env", "vault"]
    locator: dict[str, Json] | None = Field(description="Where a value is that is kept elsewhere; for admins.")
    version: int
    last4: str = Field(description="The value's end, of values of 12 characters and more.")
    created_at: str
    rotated_at: str
    age_days: int
    rotate_days: int | None
    rotation: Literal["none", "fresh", "due", "overdue"]
    due_at: str | None


class SecretUseOut(Schema):
    label: str = Field(description="Such as: flow release-service.")
    url: str
    blocks: bool = Field(description="Keeps it from being deleted.")


class SecretWhole(SecretOut):
    uses: list[SecretUseOut] = Field(description="Who names it; for admins.")
    versions: list[VersionOut] = Field(description="The newest first; for admins.")


class SecretTestedOut(Schema):
    ok: bool
    message: str = Field(description="What was found, and if it cannot be read, what to look at. Never the value.")


class SecretsOut(Schema):
    items: list[SecretOut]
    next_cursor: str | None


class WarningOut(Schema):
    code: str
    message: str
    hint: str


class WarningsOut(Schema):
    items: list[WarningOut]


@router.get("/secrets", response=declared((200, SecretsOut)))
def list_secrets(
    request: HttpRequest, cursor: Text | None = None, limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
) -> dict[str, Json]:
    """By name, with their age and whether a new value is due."""
    actor = actor_of(request)
    require_some_role(actor)
    rows = secrets.list_secrets()
    if cursor:
        rows = rows.filter(name__gt=decode_cursor(cursor, str)[0])
    found = list(rows[: limit + 1])
    more = encode_cursor(found[limit - 1].name) if len(found) > limit else None
    return {"items": [_out(row, actor) for row in found[:limit]], "next_cursor": more}


@router.get("/secrets/{name}", response=declared((200, SecretWhole)))
def get_secret(request: HttpRequest, name: Text) -> dict[str, Json]:
    """One of them, with its versions."""
    actor = actor_of(request)
    require_some_role(actor)
    return _whole(secrets.get(name), actor)


@router.put("/secrets/{name}", response=declared((200, SecretWhole), errors=(409, 502, 503)))
def put_secret(request: HttpRequest, name: Text, body: SecretIn) -> dict[str, Json]:
    """Set a value, or say where it is kept: a new secret, or a new version. Admins.

    A value that is kept elsewhere is read once first: 502 `secret_refused`, 503 `secret_unreachable`.
    """
    actor = actor_of(request)
    if body.value is not None and body.source is None and body.locator is None:
        row = secrets.set_secret(actor=actor, name=name, value=body.value, new=body.new, overlap=body.overlap)
        return _whole(row, actor)
    require(actor, Role.ADMIN)
    if body.value is not None or body.source is None:
        message = "Give either value, or source and locator."
        raise BadInput(message, details=[{"path": "value", "message": message}])
    locator = body.locator or {}
    row = secrets.point_secret(
        actor=actor, name=name, source=body.source, locator=locator, new=body.new, overlap=body.overlap
    )
    return _whole(row, actor)


@router.put("/secrets/{name}/reminder", response=declared((200, SecretWhole)))
def put_reminder(request: HttpRequest, name: Text, body: ReminderIn) -> dict[str, Json]:
    """How old its value may become before admins are reminded. Admins."""
    actor = actor_of(request)
    return _whole(secrets.set_reminder(actor=actor, name=name, days=body.rotate_days), actor)


@router.post("/secrets/{name}/test", response=declared((200, SecretTestedOut)))
def test_secret(request: HttpRequest, name: Text) -> dict[str, Json]:
    """Can its value be read now, where it is kept? Admins."""
    tested = secret_trials.try_secret(actor=actor_of(request), name=name)
    return {"ok": tested.ok, "message": tested.message}


@router.post("/secrets/{name}/versions/{version}/revoke", response=declared((200, SecretWhole), errors=(409,)))
def revoke_version(request: HttpRequest, name: Text, version: int) -> dict[str, Json]:
    """Accept a former value no more, and erase it. Admins. 409 `current_version`."""
    actor = actor_of(request)
    secret_versions.revoke_version(actor=actor, name=name, version=version)
    return _whole(secrets.get(name), actor)


@router.post("/secrets/{name}/versions/{version}/restore", response=declared((200, SecretWhole), errors=(409,)))
def restore_version(request: HttpRequest, name: Text, version: int, body: RestoreIn) -> dict[str, Json]:
    """Go back to a former value, as a new version. Admins. 409 `current_version`, `version_erased`."""
    actor = actor_of(request)
    secret_versions.restore_version(actor=actor, name=name, version=version, overlap=body.overlap)
    return _whole(secrets.get(name), actor)


@router.delete("/secrets/{name}", response=declared((204, None), errors=(409,)))
def delete_secret(request: HttpRequest, name: Text) -> Status[None]:
    """With all versions. Admins. 409 `in_use`, with the users in `details`."""
    secrets.delete_secret(actor=actor_of(request), name=name)
    return Status(204, None)


@router.get("/system/notices", response=declared((200, WarningsOut)))
def list_notices(request: HttpRequest) -> dict[str, Json]:
    """What an admin should look at, the most urgent first. Admins."""
    require(actor_of(request), Role.ADMIN)
    return {"items": warnings.notices(timezone.now())}


def _out(row: Secret, actor: Actor) -> dict[str, Json]:
    age = age_of(row.rotated_at, row.rotate_days, timezone.now())
    elsewhere = row.source != backends.STORED and can(actor, Role.ADMIN)
    return {
        "name": row.name,
        "source": row.source,
        "locator": row.locator if elsewhere else None,
        "version": row.version,
        "last4": row.last4,
        "created_at": iso(row.created_at.timestamp()),
        "rotated_at": iso(row.rotated_at.timestamp()),
        "age_days": age.days,
        "rotate_days": row.rotate_days,
        "rotation": age.state,
        "due_at": iso(age.due_at.timestamp()) if age.due_at else None,
    }


def _whole(row: Secret, actor: Actor) -> dict[str, Json]:
    admin, now = can(actor, Role.ADMIN), timezone.now().timestamp()
    versions = secret_versions.history(row.name) if admin else []
    uses = usage.uses_of("secret", row.name) if admin else []
    return {
        **_out(row, actor),
        "uses": [{"label": use.label, "url": use.url, "blocks": use.blocks} for use in uses],
        "versions": [_version(found, row, now) for found in versions],
    }


def _version(found: SecretVersion, row: Secret, now: float) -> dict[str, Json]:
    return {
        "version": found.version,
        "state": secret_versions.state_of(found, row, now),
        "source": found.source,
        "last4": found.last4,
        "restores": found.restores,
        "created_at": iso(found.created_at.timestamp()),
        "created_by": found.created_by,
        "valid_until": iso(found.valid_until),
        "revoked_at": iso(found.revoked_at.timestamp()) if found.revoked_at else None,
        "revoked_by": found.revoked_by,
    }
