"""People: invited, changed, switched off and on again. Admins of everything; nobody's password is ever seen."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from resources import audit
from resources.access import Actor, require
from resources.errors import BadInput, Conflict, Gone, NotFound
from resources.grants import check_reason
from resources.models import ApiToken, Role
from resources.people import sessions
from resources.people.keeping_admins import an_admin_stays

MAX_PASSWORD: Final = 1000


def find(name: str) -> User:
    """Raises NotFound."""
    user = User.objects.filter(username=name).first() if "\0" not in name else None
    if user is None:
        raise NotFound(f"There is nobody called {name[:40]!r}.")
    return user


def is_there(name: str) -> bool:
    return "\0" not in name and User.objects.filter(username=name).exists()


def _locked(actor: Actor, name: str) -> User:
    require(actor, Role.ADMIN)
    return User.objects.select_for_update().get(pk=find(name).pk)


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


def _check_email(email: str) -> str:
    email = email.strip()
    try:
        if email:
            validate_email(email)
    except ValidationError as error:
        raise _bad("email", "This is no e-mail address.") from error
    return email


def _check_title(full_name: str) -> str:
    full_name = full_name.strip()
    if len(full_name) > 150 or not full_name.isprintable():
        raise _bad("full_name", "A name has at most 150 characters.")
    return full_name


@transaction.atomic
def invite_person(*, actor: Actor, name: str, email: str = "", full_name: str = "", reason: str = "") -> User:
    """A person without a password and without roles. `link_for` makes the link with which they choose a password.

    Raises NotAllowed, BadInput, Conflict `name_taken`.
    """
    require(actor, Role.ADMIN)
    user = User(username=name, email=_check_email(email), first_name=_check_title(full_name))
    try:
        User.username_validator(name)
    except ValidationError as error:
        raise _bad("name", "A user name has 1 to 150 letters, digits and @ . + - _.") from error
    if len(name) > 150 or name == "new":  # /people/new is an address of its own
        raise _bad("name", "A user name has at most 150 characters, and is not new.")
    if User.objects.filter(username__iexact=name).exists():
        raise Conflict(f"There is a {name} already.", code="name_taken", hint="Choose another user name.")
    user.set_unusable_password()
    user.save()
    _record(actor, "person.invited", user, {"email": user.email}, reason)
    return user


def link_for(user: User) -> str:
    """Good once, for INVITATION_HOURS: choosing a password or signing in ends it, and so does another reset."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return f"{settings.PUBLIC_URL}/invitations/{uid}/{default_token_generator.make_token(user)}"


@transaction.atomic
def change_person(*, actor: Actor, name: str, email: str, full_name: str) -> User:
    """Raises NotFound, NotAllowed, BadInput."""
    user = _locked(actor, name)
    before = {"email": user.email, "full_name": user.get_full_name()}
    user.email, user.first_name, user.last_name = _check_email(email), _check_title(full_name), ""
    user.save(update_fields=["email", "first_name", "last_name"])
    after = {"email": user.email, "full_name": user.first_name}
    if after != before:
        _record(actor, "person.changed", user, {"before": before, "after": after}, "")
    return user


@transaction.atomic
def deactivate_person(*, actor: Actor, name: str, reason: str = "") -> User:
    """Signed out everywhere, tokens ended, and nobody signs in as them; roles and history stay.

    Raises NotFound, NotAllowed, Conflict `yourself`, `last_admin`.
    """
    require(actor, Role.ADMIN)
    with an_admin_stays():
        user = _locked(actor, name)
        if actor.user is not None and actor.user.pk == user.pk:
            raise Conflict("You cannot switch yourself off.", code="yourself", hint="Ask another admin.")
        was, user.is_active = user.is_active, False
        user.save(update_fields=["is_active"])
    ended = _end_access(user)
    if was:
        _record(actor, "person.deactivated", user, ended, reason)
    return user


@transaction.atomic
def reactivate_person(*, actor: Actor, name: str, reason: str = "") -> User:
    """They sign in as before; tokens stay ended. Raises NotFound, NotAllowed."""
    user = _locked(actor, name)
    if not user.is_active:
        user.is_active = True
        user.save(update_fields=["is_active"])
        _record(actor, "person.reactivated", user, {}, reason)
    return user


@transaction.atomic
def sign_out_person(*, actor: Actor, name: str, reason: str = "", tokens: bool = False) -> User:
    """End their sessions, and with `tokens` their API tokens, too. Raises NotFound, NotAllowed."""
    user = _locked(actor, name)
    ended = _end_access(user) if tokens else {"sessions": sessions.end(user.pk)}
    _record(actor, "person.signed_out", user, ended, reason)
    return user


@transaction.atomic
def reset_person(*, actor: Actor, name: str, reason: str = "") -> User:
    """Their password is good no more and their sessions end; `link_for` makes the link to choose a new one.

    Raises NotFound, NotAllowed, Conflict `switched_off`.
    """
    user = _locked(actor, name)
    if not user.is_active:
        raise Conflict(f"{name} is switched off.", code="switched_off", hint="Reactivate them first.")
    user.set_unusable_password()  # another text each time, so that earlier links end
    user.save(update_fields=["password"])
    _record(actor, "person.reset", user, {"sessions": sessions.end(user.pk)}, reason)
    return user


def _end_access(user: User) -> dict[str, int]:
    live = ApiToken.objects.filter(user=user, revoked_at=None)
    return {"sessions": sessions.end(user.pk), "tokens": live.update(revoked_at=timezone.now())}


def _record(actor: Actor, action: str, user: User, data: dict[str, Any], reason: str) -> None:
    told = data | ({"reason": check_reason(reason)} if reason else {})
    audit.record(actor=actor, action=action, object_type="person", object_id=user.username, data=told)


# -- their own ---------------------------------------------------------------------------------------------------------
def invited(uid: str, token: str) -> User:
    """Whose link it is. Raises Gone for one that is used, over, or none."""
    try:
        pk = int(urlsafe_base64_decode(uid))
    except (ValueError, OverflowError):
        pk = 0
    user = User.objects.filter(pk=pk, is_active=True).first() if 0 < pk < 2**63 else None
    if user is None or not default_token_generator.check_token(user, token):
        raise Gone("This link is over, or was used.", code="link_over", hint="Ask an admin for a new one.")
    return user


@transaction.atomic
def accept_invitation(*, uid: str, token: str, password: str, address: str = "") -> User:
    """Choose a password by a link; it is used up then. Raises Gone, BadInput."""
    list(User.objects.select_for_update().filter(pk=invited(uid, token).pk))
    user = invited(uid, token)  # again, behind who may have used it just now
    _set_password(user, password)
    sessions.end(user.pk)
    actor = Actor.of_user(user, address)
    audit.record(actor=actor, action="person.password_set", object_type="person", object_id=user.username, data={})
    return user


@transaction.atomic
def change_password(*, actor: Actor, current: str, password: str, session: str | None = None) -> User:
    """One's own. All other sessions end; the one with the key `session` goes on. Raises BadInput."""
    if actor.user is None:
        raise BadInput("Only people have passwords.")
    user = User.objects.select_for_update().get(pk=actor.user.pk)
    if len(current) > MAX_PASSWORD or not user.check_password(current):
        raise _bad("current", "This is not your password.")
    _set_password(user, password)
    data = {"sessions": sessions.end(user.pk, but=session)}
    audit.record(actor=actor, action="person.password_set", object_type="person", object_id=user.username, data=data)
    return user


@transaction.atomic
def sign_out_elsewhere(*, actor: Actor, session: str | None = None) -> int:
    """End one's own sessions but this one. How many."""
    if actor.user is None:
        raise BadInput("Only people have sessions.")
    count = sessions.end(actor.user.pk, but=session)
    data = {"sessions": count}
    audit.record(actor=actor, action="person.signed_out", object_type="person", object_id=actor.name, data=data)
    return count


def _set_password(user: User, password: str) -> None:
    try:
        if len(password) > MAX_PASSWORD:
            raise ValidationError(f"A password has at most {MAX_PASSWORD} characters.")
        validate_password(password, user)
    except ValidationError as error:
        raise _bad("password", " ".join(error.messages)) from error
    user.set_password(password)
    user.save(update_fields=["password"])
