"""API tokens: shown once, kept as a SHA-256. A token may what its user may, narrowed by its scopes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from resources import audit
from resources.access import Actor, parse_scope, require
from resources.errors import BadInput, NotFound
from resources.models import ApiToken, Role

PREFIX = "orc_"
#: last_used_at is a hint for people, not worth a write per request
_USED_EVERY = timedelta(minutes=1)


def _digest(plain: str) -> str:
    # no salt, no stretching: 256 random bits cannot be guessed, and the digest is what is looked up
    return hashlib.sha256(plain.encode(errors="replace")).hexdigest()


def _require_self_or_admin(actor: Actor, user: Any) -> None:
    """People manage their own tokens; a narrowed token cannot make itself a wider one."""
    if actor.kind == "user" and actor.user.pk == user.pk:
        return
    require(actor, Role.ADMIN)


def _check(name: str, scopes: Sequence[str]) -> None:
    if not name or len(name) > 100 or not name.isprintable():
        raise BadInput("A token's name has 1 to 100 characters.", details=[{"path": "name"}])
    for scope in scopes:
        try:
            parse_scope(scope)
        except ValueError as error:
            hint = "A scope is a role, or a role and a folder: viewer, operator:payments."
            raise BadInput(f"There is no scope {scope}.", hint=hint, details=[{"path": "scopes"}]) from error


@transaction.atomic
def create_token(
    *,
    actor: Actor,
    user: Any,
    name: str,
    expires_at: datetime | None = None,
    scopes: Sequence[str] = (),
) -> tuple[ApiToken, str]:
    """A new token of `user` and its plain text, which nobody sees again. For oneself, or by an admin.

    Raises NotAllowed, BadInput.
    """
    _require_self_or_admin(actor, user)
    _check(name, scopes)
    plain = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user, name=name, prefix=plain[:12], digest=_digest(plain), scopes=list(scopes), expires_at=expires_at
    )
    data = {
        "user": user.get_username(),
        "name": name,
        "scopes": list(scopes),
        "expires_at": expires_at.isoformat() if expires_at else None,
    }
    audit.record(actor=actor, action="token.created", object_type="token", object_id=str(token.pk), data=data)
    return token, plain


@transaction.atomic
def revoke_token(*, actor: Actor, token_id: int) -> ApiToken:
    """End a token at once; a second time changes nothing. By its user or an admin. Raises NotFound, NotAllowed."""
    token = ApiToken.objects.select_for_update(of=("self",)).select_related("user").filter(pk=token_id).first()
    if token is None:
        raise NotFound("There is no such token.")
    _require_self_or_admin(actor, token.user)
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        data = {"user": token.user.get_username(), "name": token.name}
        audit.record(actor=actor, action="token.revoked", object_type="token", object_id=str(token.pk), data=data)
    return token


def authenticate(plain: str, *, address: str = "", now: datetime | None = None) -> Actor | None:
    """The actor of a bearer token; None for one that is unknown, expired or revoked, or whose user is not active.

    The same work for every text: one hash, one lookup of it. Equal prefixes tell nothing, as hashes are compared.
    """
    now = now or timezone.now()
    token = ApiToken.objects.select_related("user").filter(digest=_digest(plain)).first()
    if token is None or token.revoked_at is not None or not token.user.is_active:
        return None
    if token.expires_at is not None and token.expires_at <= now:
        return None
    if token.last_used_at is None or token.last_used_at <= now - _USED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return Actor("token", token.user.get_username(), token.user, address, tuple(token.scopes))
