"""Connections: how to reach one outside system. Settings are typed per kind and never hold a secret, only its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from pydantic import ValidationError

from resources import audit, credentials, usage
from resources.access import Actor, require
from resources.connection_settings import ConnectionSettings
from resources.errors import BadInput, Conflict, NotFound
from resources.kinds import KINDS, secrets_of
from resources.models import Connection, Role, Secret
from resources.names import check_slug
from resources.signals import limits_changed


@dataclass(frozen=True, slots=True)
class ConnectionRef:
    """A connection as it is now. `version` goes up with every change and is part of what people approve."""

    id: int
    name: str
    kind: str
    version: int
    settings: ConnectionSettings

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "version": self.version, "kind": self.kind}


#: errors about the choice among several shapes are about its `type`
_CHOOSES = {"union_tag_invalid": ".type", "union_tag_not_found": ".type"}


def parse_settings(kind: str, settings: Mapping[str, Any]) -> ConnectionSettings:
    """Raises BadInput with `details` [{path, message}] for an unknown kind or settings that break its rules."""
    if kind not in KINDS:
        raise _bad("kind", f"There is no kind of connection called {kind}; there are: {', '.join(KINDS)}.")
    if _has_nul(settings):
        raise _bad("", "A setting holds U+0000, which no text may.")
    try:
        return KINDS[kind].Settings.model_validate(dict(settings))
    except ValidationError as error:
        details = [
            {"path": _where(e["loc"], settings) + _CHOOSES.get(e["type"], ""), "message": _words(e["type"], e["msg"])}
            for e in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise BadInput(details[0]["message"], hint="Correct the marked fields.", details=details) from error


def _has_nul(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any("\0" in str(key) or _has_nul(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def _where(location: tuple[str | int, ...], given: Any) -> str:
    """An error's place as it stands in what was given: without the tags of the shapes to choose from."""
    path: list[str] = []
    for part in location:
        if isinstance(given, Mapping) and part not in given and part == given.get("type"):
            continue
        path.append(str(part))
        if isinstance(given, Mapping):
            given = given.get(part)
        elif isinstance(given, list | tuple) and isinstance(part, int) and part < len(given):
            given = given[part]
    return ".".join(path)


def _words(kind: str, message: str) -> str:
    if kind in ("missing", "string_too_short"):
        return "This is needed."
    if kind == "extra_forbidden":
        return "There is no such setting."
    return message.removeprefix("Value error, ")


def _checked(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as stored: parsed, complete, their secret known and in its place."""
    parsed = parse_settings(kind, settings)
    for path, message in credentials.objections(parsed):
        raise _bad(path, message)
    for name in sorted(secrets_of(parsed)):
        # locked, so that it cannot be deleted before this connection is seen to use it
        if Secret.objects.select_for_update().filter(name=name).values_list("pk").first() is None:
            raise _bad(_path_of(stored_json(parsed), name), f"There is no secret {name}. Set it first.")
    return stored_json(parsed)


def stored_json(settings: ConnectionSettings) -> dict[str, Any]:
    """Settings as they are kept: complete, without limits where there are none."""
    stored = settings.model_dump(mode="json")
    if settings.limits is None:
        del stored["limits"]
    return stored


def _path_of(stored: Mapping[str, Any], secret: str) -> str:
    """Where in the settings a secret is named: "auth.secret"."""
    for key, value in stored.items():
        if value == secret:
            return key
        if isinstance(value, Mapping) and (inner := _path_of(value, secret)):
            return f"{key}.{inner}"
    return ""


def secrets_in(kind: str, settings: Mapping[str, Any]) -> set[str]:
    """The secrets that stored settings name; none where the kind is unknown or they are no longer valid."""
    try:
        return secrets_of(parse_settings(kind, settings))
    except BadInput:
        return set()


def _what_is_sent(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All but the limits, complete; as stored where an older version allowed what this one does not."""
    try:
        return {**parse_settings(kind, settings).model_dump(mode="json"), "limits": None}
    except BadInput:
        return {**settings, "limits": None}


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


@transaction.atomic
def create_connection(*, actor: Actor, name: str, kind: str, settings: Mapping[str, Any]) -> Connection:
    """Admins only. Raises NotAllowed, BadInput, Conflict `connection_exists`."""
    require(actor, Role.ADMIN)
    check_slug(name)
    stored = _checked(kind, settings)
    connection, made = Connection.objects.get_or_create(name=name, defaults={"kind": kind, "settings": stored})
    if not made:
        raise Conflict(f"There is a connection {name} already.", hint="Edit it.", code="connection_exists")
    data = {"kind": kind, "settings": stored, "version": connection.version}
    audit.record(actor=actor, action="connection.created", object_type="connection", object_id=name, data=data)
    return connection


@transaction.atomic
def update_connection(*, actor: Actor, name: str, settings: Mapping[str, Any]) -> Connection:
    """Replace the settings. A change raises the version, which voids open approvals; saving the same changes nothing.

    Limits alone leave the version as it is: they say when a step is sent, not what. Admins only. Raises NotAllowed,
    NotFound, BadInput.
    """
    require(actor, Role.ADMIN)
    connection = locked(name)
    before, after = connection.settings, _checked(connection.kind, settings)
    if before == after:
        return connection
    connection.settings = after
    if _what_is_sent(connection.kind, before) != _what_is_sent(connection.kind, after):
        connection.version += 1
    connection.save(update_fields=["settings", "version", "updated_at"])
    if before.get("limits") != after.get("limits"):
        limits_changed.send(sender=None, connection_id=connection.pk)
    data = {"before": before, "after": after, "version": connection.version}
    audit.record(actor=actor, action="connection.updated", object_type="connection", object_id=name, data=data)
    return connection


@transaction.atomic
def delete_connection(*, actor: Actor, name: str) -> None:
    """Admins only. Raises NotAllowed, NotFound, Conflict `in_use` while something registered names it."""
    require(actor, Role.ADMIN)
    connection = locked(name)
    usage.refuse_while_used("connection", name)
    data = {"kind": connection.kind, "settings": connection.settings, "version": connection.version}
    limits_changed.send(sender=None, connection_id=connection.pk, gone=True)
    connection.delete()
    audit.record(actor=actor, action="connection.deleted", object_type="connection", object_id=name, data=data)


def locked(name: str) -> Connection:
    """The connection's row, locked for the rest of the caller's transaction. Raises NotFound."""
    connection = Connection.objects.select_for_update().filter(name=name).first()
    if connection is None:
        raise _missing(name)
    return connection


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no connection {name}.", hint="Add it under Connections.", code="connection_not_found")


def get(name: str) -> Connection:
    """Raises NotFound."""
    row = Connection.objects.filter(name=name).first()
    if row is None:
        raise _missing(name)
    return row


def address_of(settings: Mapping[str, Any]) -> str:
    """What stored settings reach, for people: an address, a host with its port, a file."""
    for key in ("base_url", "url", "host", "path", "address"):
        if isinstance(settings.get(key), str) and settings[key]:
            port = settings.get("port") if key == "host" else None
            return f"{settings[key]}:{port}" if port else str(settings[key])
    return ""


def list_connections() -> QuerySet[Connection]:
    return Connection.objects.order_by("name")


def resolve(name: str) -> ConnectionRef:
    """The connection as it is now. Raises NotFound."""
    row = get(name)
    return ConnectionRef(row.pk, row.name, row.kind, row.version, parse_settings(row.kind, row.settings))


def ref_json(name: str) -> dict[str, Any]:
    """{"id", "name", "version", "kind"}: what an action names, and what is digested with it. Raises NotFound."""
    return resolve(name).to_json()


def using_secret(secret: str) -> list[usage.Use]:
    """Connections whose settings name `secret`; registered with resources.usage."""
    rows = Connection.objects.order_by("name").values_list("name", "kind", "settings")
    found = [name for name, kind, settings in rows if secret in secrets_in(kind, settings)]
    return [usage.Use(f"connection {name}", f"/connections/{name}/edit") for name in found]
