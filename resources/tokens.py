"""API tokens: shown once, kept as a SHA-256. A token may what its user may, narrowed by its scopes, at every use."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from resources import audit
from resources.access import Actor, allowed, can, covers, folders_for, parse_scope, require
from resources.errors import BadInput, NotAllowed, NotFound
from resources.models import ApiToken, Role

PREFIX = "orc_"
MAX_DAYS: Final = 3650
#: tokens of other people listed at once
MAX_SHOWN: Final = 500
#: last_used_at is a hint for people, not worth a write per request
_USED_EVERY = timedelta(minutes=1)


def _digest(plain: str) -> str:
    # no salt, no stretching: 256 random bits cannot be guessed, and the digest is what is looked up
    return hashlib.sha256(plain.encode(errors="replace")).hexdigest()


def _bad(path: str, message: str, hint: str = "") -> BadInput:
    return BadInput(message, hint=hint, details=[{"path": path, "message": message}])


def _check(name: str, scopes: Sequence[str]) -> None:
    if not name or len(name) > 100 or not name.isprintable():
        raise _bad("name", "A token's name has 1 to 100 characters.")
    if len(scopes) > 50:
        raise _bad("scopes", "A token has at most 50 scopes.")
    for scope in scopes:
        try:
            if len(parse_scope(scope)[1]) > 200 or not scope.isprintable():
                raise ValueError(scope)
        except ValueError as error:
            hint = "A scope is a role, or a role and a folder: viewer, operator:payments."
            raise _bad("scopes", f"There is no scope {scope[:80]!r}.", hint) from error


def _narrowed(actor: Actor, user: Any, scopes: Sequence[str]) -> Sequence[str]:
    """The scopes of a new token: no more than its owner and who makes it may. Raises NotAllowed, BadInput."""
    own = actor.user is not None and actor.user.pk == user.pk
    if not own:
        require(actor, Role.ADMIN)
    if own and actor.kind == "token" and not scopes:
        scopes = actor.scopes
    granted = Actor.of_user(user).grants()
    for role, folder in map(parse_scope, scopes):
        if not allowed(granted, role, folder) or not can(actor, role, folder):
            where = folder or "everything"
            raise _bad("scopes", f"{user.get_username()} does not have the role {role} on {where}.")
    return scopes


def _end(actor: Actor, days: int | None, now: datetime) -> datetime:
    """When a token ends that somebody makes now. Raises BadInput."""
    most = settings.TOKEN_MAX_DAYS or MAX_DAYS
    if days is not None and not 1 <= days <= most:
        raise _bad("days", f"A token lives 1 to {most} days.")
    end: datetime = now + timedelta(days=settings.TOKEN_DAYS if days is None else days)
    maker = actor.token.expires_at if actor.token is not None else None
    return end if maker is None else min(end, maker)


@transaction.atomic
def create_token(
    *,
    actor: Actor,
    user: Any,
    name: str,
    expires_at: datetime | None = None,
    days: int | None = None,
    scopes: Sequence[str] = (),
) -> tuple[ApiToken, str]:
    """A new token of `user` and its plain text, which nobody sees again. For oneself, or by an admin of everything.

    `days`: how long it lives, TOKEN_DAYS where it is None; a token made with a token does not outlive that one, nor may
    it more. `expires_at` is for Orchestra itself, whose tokens may live for ever. Raises NotAllowed, BadInput.
    """
    _check(name, scopes)
    scopes = _narrowed(actor, user, scopes)
    if actor.kind != "system" and expires_at is None:
        expires_at = _end(actor, days, timezone.now())
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


def _may_end(actor: Actor, token: ApiToken) -> bool:
    """One's own; a token itself; what reaches no further than folders that one administers."""
    if actor.token is not None and actor.token.pk == token.pk:
        return True
    narrow = actor.kind == "token" and bool(actor.scopes)
    if actor.user is not None and actor.user.pk == token.user_id and not narrow:
        return True
    return administers(actor, token)


def administers(actor: Actor, token: ApiToken) -> bool:
    """Does all that its scopes reach lie in folders that `actor` administers? One without scopes reaches everything."""
    return all(can(actor, Role.ADMIN, folder) for _, folder in map(parse_scope, token.scopes or ["admin"]))


@transaction.atomic
def revoke_token(*, actor: Actor, token_id: int) -> ApiToken:
    """End a token at once; a second time changes nothing. By its user, or an admin of all the folders of its scopes.

    Raises NotFound, also for one that the actor may not see.
    """
    rows = ApiToken.objects.select_for_update(of=("self",)).select_related("user")
    token = rows.filter(pk=token_id).first() if 0 < token_id < 2**63 else None
    if token is None or not _may_end(actor, token):
        raise NotFound("There is no such token.")
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        data = {"user": token.user.get_username(), "name": token.name}
        audit.record(actor=actor, action="token.revoked", object_type="token", object_id=str(token.pk), data=data)
    return token


def _good(now: datetime) -> QuerySet[ApiToken]:
    """Not revoked; those that ended stay listed for a month, so that somebody finds out why a script stopped."""
    rows = ApiToken.objects.filter(revoked_at=None).exclude(expires_at__lt=now - timedelta(days=30))
    return rows.select_related("user").order_by("-pk")


def own(actor: Actor, now: datetime) -> list[ApiToken]:
    """The newest first. Raises NotAllowed for what is no person."""
    if actor.user is None:
        raise NotAllowed("Only people have tokens.")
    return list(_good(now).filter(user=actor.user)[:MAX_SHOWN])


def of_others(actor: Actor, now: datetime) -> list[ApiToken]:
    """Those that `actor` administers and that are not their own, the newest first."""
    folders = folders_for(actor, Role.ADMIN)
    if folders == [] or actor.user is None:
        return []
    rows = _good(now).exclude(user=actor.user)
    if folders is None:
        return list(rows[:MAX_SHOWN])
    found = [token for token in rows.exclude(scopes=[])[: 10 * MAX_SHOWN] if _within(token, folders)]
    return found[:MAX_SHOWN]


def _within(token: ApiToken, folders: list[str]) -> bool:
    return all(any(covers(f, folder) for f in folders) for _, folder in map(parse_scope, token.scopes or ["admin"]))


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
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now, last_used_from=address[:64])
    return Actor("token", token.user.get_username(), token.user, address, tuple(token.scopes), token)
