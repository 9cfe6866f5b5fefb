"""Secrets: written by admins, used by steps, shown to nobody."""

from __future__ import annotations

import re
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from resources import audit, crypto, usage
from resources.access import Actor, require
from resources.errors import BadInput, Conflict, NotFound
from resources.models import Role, Secret

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
MAX_BYTES = 64 * 1024
#: the last four characters help to recognise a value only where they give little of it away
HINT_FROM = 12


def _place(name: str) -> bytes:
    return crypto.place("resources_secret", name, "value")


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


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


@transaction.atomic
def set_secret(*, actor: Actor, name: str, value: str, new: bool = False) -> Secret:
    """Create the secret, or give it a new value (its version goes up). Admins only.

    `value`: text of 1 to 65,536 bytes in UTF-8. `new`: Conflict `secret_exists` instead of a new version.
    Raises NotAllowed, BadInput.
    """
    require(actor, Role.ADMIN)
    check_name(name)
    sealed = crypto.seal(_check_value(value), aad=_place(name))
    fields = {
        "ciphertext": sealed,
        "key_id": crypto.key_id_of(sealed),
        "last4": value[-4:] if len(value) >= HINT_FROM else "",
        "rotated_at": timezone.now(),
    }
    secret, made = Secret.objects.select_for_update().get_or_create(name=name, defaults=fields)
    if new and not made:
        raise Conflict(f"There is a secret {name} already.", hint="Give it a new value.", code="secret_exists")
    if not made:
        _renew(secret, fields)
    action = "secret.created" if made else "secret.rotated"
    audit.record(actor=actor, action=action, object_type="secret", object_id=name, data={"version": secret.version})
    return secret


def _renew(secret: Secret, fields: dict[str, Any]) -> None:
    for field, value in fields.items():
        setattr(secret, field, value)
    secret.version += 1
    secret.save(update_fields=[*fields, "version"])


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
    """The value, for a step that sends it or a signature check; never for a page, an API answer or a log.

    Raises NotFound, crypto.CannotDecrypt.
    """
    with connection.cursor() as cursor:  # for every webhook and every step that signs
        cursor.execute("SELECT ciphertext FROM resources_secret WHERE name = %s", [name])
        row = cursor.fetchone()
    if row is None:
        raise missing(name)
    return crypto.open_(bytes(row[0]), aad=_place(name)).decode()


def missing(name: str) -> NotFound:
    return NotFound(f"There is no secret {name}.", hint="Set it under Secrets.", code="secret_not_found")


def get(name: str) -> Secret:
    """The secret without its value. Raises NotFound."""
    secret = list_secrets().filter(name=name).first()
    if secret is None:
        raise missing(name)
    return secret
