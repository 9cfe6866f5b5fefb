"""The versions of a secret: kept when the next one is set, accepted for a while, revoked, restored. Never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from resources import audit, backends, crypto, sealed
from resources.access import Actor, require
from resources.errors import BadInput, Conflict, NotFound
from resources.models import Role, Secret, SecretVersion

#: former values that are kept, to go back to; older ones are erased, and only who and when remains
MAX_KEPT = 10
#: seconds for which a former value may be accepted beside the new one
MAX_OVERLAP = 90 * 86400.0


@dataclass(frozen=True, slots=True)
class Value:
    """What a version is: sealed bytes or a backend's locator. Its repr shows neither."""

    plain: bytes | None = field(default=None, repr=False)
    last4: str = field(default="", repr=False)
    source: str = backends.STORED
    locator: Mapping[str, Any] = field(default_factory=dict)


def place_of_current(name: str) -> bytes:
    return crypto.place("resources_secret", name, "value")


def place_of_former(name: str, version: int) -> bytes:
    return crypto.place("resources_secretversion", name, str(version), "value")


def register_columns() -> None:
    """For `manage.py rotate_keys`."""
    sealed.register(sealed.Column("secret", Secret, "ciphertext", ("name",), place_of_current, "key_id"))
    names = ("secret__name", "version")
    sealed.register(sealed.Column("former value", SecretVersion, "ciphertext", names, place_of_former, "key_id"))


def check_overlap(overlap: float) -> None:
    """Seconds. Raises BadInput."""
    if not 0 <= overlap <= MAX_OVERLAP:
        message = f"The value before may stay valid for 0 to {MAX_OVERLAP / 86400:.0f} days."
        raise BadInput(message, details=[{"path": "overlap", "message": message}])


def columns_of(name: str, value: Value) -> dict[str, Any]:
    """The current row's columns of a new value."""
    sealed = b"" if value.plain is None else crypto.seal(value.plain, aad=place_of_current(name))
    return {
        "source": value.source,
        "locator": dict(value.locator),
        "ciphertext": sealed,
        "key_id": crypto.key_id_of(sealed) if sealed else "",
        "last4": value.last4,
        "rotated_at": timezone.now(),
    } | ({} if value.source == backends.STORED else {"rotate_days": None})  # its age is not ours to know


def renew(secret: Secret, value: Value, *, actor: Actor, overlap: float, restores: int | None = None) -> None:
    """A new version of a locked secret; the value before moves to the versions, valid for `overlap` seconds more."""
    _retire(secret, overlap)
    columns = columns_of(secret.name, value)
    for column, new in columns.items():
        setattr(secret, column, new)
    secret.version += 1
    secret.save(update_fields=[*columns, "version"])
    note(secret, actor, restores)
    _erase_old(secret)


def note(secret: Secret, actor: Actor, restores: int | None = None) -> None:
    """The line of a current version in the history."""
    SecretVersion.objects.create(
        secret=secret, version=secret.version, source=secret.source, locator=secret.locator, last4=secret.last4,
        created_at=secret.rotated_at, created_by=actor.name, restores=restores,
    )  # fmt: skip


def _retire(secret: Secret, overlap: float) -> None:
    former, _ = SecretVersion.objects.get_or_create(
        secret=secret, version=secret.version,
        defaults={"created_at": secret.rotated_at, "last4": secret.last4},
    )  # fmt: skip
    former.ciphertext = sealed = _moved(secret)
    former.key_id = crypto.key_id_of(sealed) if sealed else ""
    former.source, former.locator = secret.source, secret.locator
    former.valid_until = timezone.now().timestamp() + overlap if overlap else None
    former.save(update_fields=["ciphertext", "key_id", "source", "locator", "valid_until"])


def _moved(secret: Secret) -> bytes | None:
    """The current value, sealed for its place among the former ones."""
    if not secret.ciphertext:
        return None
    try:
        plain = crypto.open_(bytes(secret.ciphertext), aad=place_of_current(secret.name))
    except crypto.CannotDecrypt:
        return None  # lost with its key; setting the secret again is the way out, and must not be refused for it
    return crypto.seal(plain, aad=place_of_former(secret.name, secret.version))


def _erase_old(secret: Secret) -> None:
    """Of all but the last MAX_KEPT former values only the history remains, unless they are still accepted."""
    now = timezone.now().timestamp()
    old = SecretVersion.objects.filter(secret=secret, version__lt=secret.version - MAX_KEPT, ciphertext__isnull=False)
    old.exclude(valid_until__gt=now).update(ciphertext=None, key_id="")


def history(name: str) -> QuerySet[SecretVersion]:
    """All versions, the newest first, without their values."""
    return SecretVersion.objects.filter(secret__name=name).defer("ciphertext").order_by("-version")


def state_of(found: SecretVersion, secret: Secret, now: float) -> str:
    """current, accepted (beside the current one), former (one can go back to it), erased or revoked."""
    if found.version == secret.version:
        return "current"
    if found.revoked_at is not None:
        return "revoked"
    if not found.kept:
        return "erased"
    return "accepted" if found.valid_until is not None and now < found.valid_until else "former"


def _locked(name: str, version: int) -> tuple[Secret, SecretVersion]:
    """Raises NotFound."""
    secret = Secret.objects.select_for_update().filter(name=name).first()
    if secret is None:
        raise missing(name)
    found = SecretVersion.objects.filter(secret=secret, version=version).first()
    if found is None:
        raise NotFound(
            f"{name} has no version {version}.", hint=f"It is at version {secret.version}.", code="version_not_found"
        )
    return secret, found


def missing(name: str) -> NotFound:
    return NotFound(f"There is no secret {name}.", hint="Set it under Secrets.", code="secret_not_found")


@transaction.atomic
def revoke_version(*, actor: Actor, name: str, version: int) -> SecretVersion:
    """Accept a former value no more, from now on, and erase it. A second time changes nothing. Admins only.

    Raises NotAllowed, NotFound, Conflict `current_version`.
    """
    require(actor, Role.ADMIN)
    secret, former = _locked(name, version)
    if version == secret.version:
        raise Conflict(
            f"Version {version} of {name} is the one in use.", code="current_version",
            hint="Set a new value without overlap, or go back to a former one; then revoke it.",
        )  # fmt: skip
    if former.revoked_at is not None:
        return former
    former.ciphertext, former.key_id, former.valid_until = None, "", None
    former.locator, former.revoked_at, former.revoked_by = {}, timezone.now(), actor.name
    former.save(update_fields=["ciphertext", "key_id", "valid_until", "locator", "revoked_at", "revoked_by"])
    _record(actor, "secret.version_revoked", name, version=version)
    return former


@transaction.atomic
def restore_version(*, actor: Actor, name: str, version: int, overlap: float = 0.0) -> Secret:
    """Go back to a former value: it becomes a new version. Admins only.

    `overlap`: seconds for which the value used until now is still accepted. Raises NotAllowed, BadInput, NotFound,
    Conflict `current_version` or `version_erased`, crypto.CannotDecrypt.
    """
    require(actor, Role.ADMIN)
    check_overlap(overlap)
    secret, former = _locked(name, version)
    if version == secret.version:
        raise Conflict(f"Version {version} of {name} is the one in use.", code="current_version")
    renew(secret, _value_of(former, name), actor=actor, overlap=overlap, restores=version)
    _record(actor, "secret.restored", name, version=secret.version, restores=version, overlap=overlap)
    return secret


def _value_of(former: SecretVersion, name: str) -> Value:
    if former.source != backends.STORED and former.revoked_at is None:
        return Value(source=former.source, locator=former.locator)
    if former.ciphertext is None:
        raise Conflict(
            f"The value of version {former.version} of {name} is erased.", hint="Set the value again.",
            code="version_erased",
        )  # fmt: skip
    plain = crypto.open_(bytes(former.ciphertext), aad=place_of_former(name, former.version))
    return Value(plain, former.last4)


def _record(actor: Actor, action: str, name: str, **data: Any) -> None:
    audit.record(actor=actor, action=action, object_type="secret", object_id=name, data=data)
