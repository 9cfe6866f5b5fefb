"""Secrets: written by admins, used by steps, shown to nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from resources import audit, backends, crypto, usage
from resources.access import Actor, require
from resources.backends.errors import Refused, Unreachable
from resources.errors import BadInput, Conflict
from resources.models import Role, Secret
from resources.secret_age import LONGEST, Age, age_of
from resources.secret_versions import (
    Value,
    check_overlap,
    columns_of,
    missing,
    note,
    place_of_current,
    place_of_former,
    renew,
)

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
MAX_BYTES = 64 * 1024
#: the last four characters help to recognise a value only where they give little of it away
HINT_FROM = 12
_ACCEPTED = """
SELECT v.version, v.ciphertext, v.source, v.locator
FROM resources_secretversion v JOIN resources_secret s ON s.id = v.secret_id
WHERE s.name = %s AND v.valid_until > %s AND (v.ciphertext IS NOT NULL OR v.source <> 'stored')
ORDER BY v.version DESC"""


def check_name(name: str) -> None:
    """Raises BadInput, with the field's path in `details`."""
    if not NAME.fullmatch(name):
        raise _bad("name", "Use letters, digits, - and _, starting with a letter; 64 at most.")


def _check_value(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise _bad("value", "The value must be text.") from error
    if not data or len(data) > MAX_BYTES:
        raise _bad("value", f"The value must have 1 to {MAX_BYTES} bytes.")
    return data


def _ends_in(value: str) -> str:
    """What is shown of it. A key's last line is the same in all keys."""
    return value[-4:] if len(value) >= HINT_FROM and not value.rstrip().endswith("-----") else ""


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


@transaction.atomic
def set_secret(*, actor: Actor, name: str, value: str, new: bool = False, overlap: float = 0.0) -> Secret:
    """Create the secret, or give it a new value (its version goes up). Admins only.

    `value`: text of 1 to 65,536 bytes in UTF-8. `new`: Conflict `secret_exists` instead of a new version. `overlap`:
    seconds for which the value before is accepted beside the new one where something is verified; what is sent is the
    new one at once. Raises NotAllowed, BadInput.
    """
    require(actor, Role.ADMIN)
    check_name(name)
    check_overlap(overlap)
    given = Value(_check_value(value), _ends_in(value))
    return _put(actor, name, given, new=new, overlap=overlap)


def point_secret(
    *, actor: Actor, name: str, source: str, locator: Mapping[str, Any], new: bool = False, overlap: float = 0.0
) -> Secret:
    """Let the value come from a backend from now on: `source` is one of backends.BACKENDS. Admins only.

    It is read once before anything changes. `new`, `overlap`: as in `set_secret`. Raises NotAllowed, BadInput,
    Conflict, backends.errors.Unreachable, backends.errors.Refused.
    """
    require(actor, Role.ADMIN)
    check_name(name)
    check_overlap(overlap)
    found = backends.parse(source, locator)
    backends.read(source, found)
    with transaction.atomic():
        return _put(actor, name, Value(source=source, locator=found), new=new, overlap=overlap)


def _put(actor: Actor, name: str, value: Value, *, new: bool, overlap: float) -> Secret:
    columns = columns_of(name, value)
    secret, made = Secret.objects.select_for_update().get_or_create(name=name, defaults=columns)
    if new and not made:
        raise Conflict(f"There is a secret {name} already.", hint="Give it a new value.", code="secret_exists")
    data: dict[str, Any] = {}
    if made:
        note(secret, actor)
    else:
        renew(secret, value, actor=actor, overlap=overlap)
        data = {"overlap": overlap} if overlap else {}
    action = "secret.created" if made else "secret.rotated"
    if value.source != backends.STORED:
        data |= {"source": value.source, "locator": dict(value.locator)}
    data = {"version": secret.version, **data}
    audit.record(actor=actor, action=action, object_type="secret", object_id=name, data=data)
    return secret


@transaction.atomic
def set_reminder(*, actor: Actor, name: str, days: int | None) -> Secret:
    """Remind of a new value when this one is `days` (1 to 3650) old; None: never. Saving the same changes nothing.

    Admins only. Raises NotAllowed, NotFound, BadInput, also for a value that is kept elsewhere.
    """
    require(actor, Role.ADMIN)
    if days is not None and not 1 <= days <= LONGEST:
        raise _bad("rotate_days", f"Give 1 to {LONGEST} days.")
    secret = Secret.objects.select_for_update().defer("ciphertext").filter(name=name).first()
    if secret is None:
        raise missing(name)
    if days is not None and secret.source != backends.STORED:
        raise _bad("rotate_days", "The value is kept elsewhere; how old it is is not known here.")
    before, secret.rotate_days = secret.rotate_days, days
    if before != days:
        secret.save(update_fields=["rotate_days"])
        data = {"before": {"rotate_days": before}, "after": {"rotate_days": days}}
        audit.record(actor=actor, action="secret.updated", object_type="secret", object_id=name, data=data)
    return secret


def ages(now: datetime) -> list[tuple[Secret, Age]]:
    """All secrets by name, with how old they are at `now`."""
    return [(row, age_of(row.rotated_at, row.rotate_days, now)) for row in list_secrets()]


@transaction.atomic
def delete_secret(*, actor: Actor, name: str) -> None:
    """Raises NotAllowed, NotFound, Conflict `in_use` while something names it."""
    require(actor, Role.ADMIN)
    secret = Secret.objects.select_for_update().defer("ciphertext").filter(name=name).first()
    if secret is None:
        raise missing(name)
    usage.refuse_while_used("secret", name)
    secret.delete()
    audit.record(
        actor=actor, action="secret.deleted", object_type="secret", object_id=name, data={"version": secret.version}
    )


def list_secrets() -> QuerySet[Secret]:
    """All secrets by name, without their values."""
    return Secret.objects.defer("ciphertext").order_by("name")


def reveal(name: str) -> str:
    """The value, for a step that sends it or a signature that is made; never for a page, an API answer or a log.

    Raises NotFound, crypto.CannotDecrypt, backends.errors.Unreachable, backends.errors.Refused.
    """
    with connection.cursor() as cursor:  # for every webhook and every step that signs
        cursor.execute("SELECT ciphertext, source, locator FROM resources_secret WHERE name = %s", [name])
        row = cursor.fetchone()
    if row is None:
        raise missing(name)
    sealed, source, locator = row
    if source != backends.STORED:
        return _elsewhere(name, source, locator)
    return crypto.open_(bytes(sealed), aad=place_of_current(name)).decode()


def _elsewhere(name: str, source: str, locator: str) -> str:
    """Whoever reads the error of a step does not know which of its secrets is kept there."""
    try:
        return backends.read(source, json.loads(locator))
    except (Unreachable, Refused) as error:
        raise type(error)(f"The secret {name} cannot be read: {error.message}", hint=error.hint) from None


def reveal_all(name: str) -> list[str]:
    """Every value that is accepted now, once, the current one first: for whatever checks a signature or a password.

    Compare with each of them in constant time. Raises what `reveal` does.
    """
    return list(dict.fromkeys([reveal(name), *(_former(name, *row) for row in _accepted(name))]))


def _accepted(name: str) -> list[tuple[int, bytes | None, str, str]]:
    """(version, sealed, source, locator) of former values within their overlap, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute(_ACCEPTED, [name, timezone.now().timestamp()])
        return [tuple(row) for row in cursor.fetchall()]


def _former(name: str, version: int, sealed: bytes | None, source: str, locator: str) -> str:
    if source != backends.STORED:
        return _elsewhere(name, source, locator)
    return crypto.open_(bytes(sealed or b""), aad=place_of_former(name, version)).decode()


def get(name: str) -> Secret:
    """The secret without its value. Raises NotFound."""
    secret = list_secrets().filter(name=name).first()
    if secret is None:
        raise missing(name)
    return secret
