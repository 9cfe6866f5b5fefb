"""Who acts, and what they may do. Roles are granted on folders; a folder covers all below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db.models import Q
from django.http import HttpRequest

from resources.errors import NotAllowed, NotFound, NotSignedIn
from resources.models import Grant, Role
from resources.proxies import address_of

ActorKind = Literal["user", "token", "trigger", "system"]
#: (role, folder); "" is every folder
Granted = tuple[str, str]


def includes(held: str, wanted: str) -> bool:
    """Does the role `held` include `wanted`? Everybody with a role views; an admin may everything."""
    return held in (wanted, Role.ADMIN) or wanted == Role.VIEWER


def covers(granted: str, folder: str) -> bool:
    """Does a grant on `granted` reach `folder`? Whole path segments only: "pay" does not reach "payments"."""
    return granted in ("", folder) or folder.startswith(f"{granted}/")


def allowed(grants: Iterable[Granted], role: str, folder: str) -> bool:
    return any(includes(held, role) and covers(where, folder) for held, where in grants)


def parse_scope(scope: str) -> Granted:
    """A scope is "role" or "role:folder". Raises ValueError for a role that does not exist."""
    role, _, folder = scope.partition(":")
    return Role(role).value, folder.strip("/")


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who acts. Made once a request, and keeps the grants it has read: never keep it longer.

    `scopes` narrow a token to less than its user may; for a trigger, which has no user, they are all it may.
    """

    kind: ActorKind
    name: str
    user: Any = None
    address: str = ""
    scopes: tuple[str, ...] = ()
    #: the row of the API token that came, if one did
    token: Any = field(default=None, compare=False, repr=False)
    _cache: dict[str, tuple[Granted, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def system(cls, name: str) -> Actor:
        """Orchestra itself, which may all: commands on the host, timers, the engine."""
        return cls("system", name)

    @classmethod
    def trigger(cls, name: str, folder: str, address: str = "") -> Actor:
        """A trigger of a live flow: an operator of its folder, since an author released it to start runs."""
        return cls("trigger", name, address=address, scopes=(f"{Role.OPERATOR.value}:{folder}",))

    @classmethod
    def of_user(cls, user: Any, address: str = "") -> Actor:
        return cls("user", user.get_username(), user, address)

    @classmethod
    def of(cls, request: HttpRequest) -> Actor:
        """The actor of a request, the same object for all of it: a token's if one came, else the session's user.

        Raises NotSignedIn for a stranger.
        """
        known = getattr(request, "auth", None) or getattr(request, "_actor", None)
        if isinstance(known, Actor):
            return known
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated:
            raise NotSignedIn("Sign in to do this.", hint="Sign in in a browser, or send a bearer token.")
        actor = cls.of_user(user, address_of(request))
        request._actor = actor  # type: ignore[attr-defined]
        return actor

    def grants(self) -> tuple[Granted, ...]:
        """What this actor's user and groups were granted; read from the database once."""
        if "grants" not in self._cache:
            self._cache["grants"] = _grants_of(self)
        return self._cache["grants"]


def _grants_of(actor: Actor) -> tuple[Granted, ...]:
    if actor.kind == "system":
        return ((Role.ADMIN.value, ""),)
    if actor.kind == "trigger":
        return tuple(parse_scope(scope) for scope in actor.scopes)
    user = actor.user
    if user is None or not user.is_active:
        return ()
    if user.is_superuser:
        return ((Role.ADMIN.value, ""),)
    rows = Grant.objects.filter(Q(user=user) | Q(group__in=user.groups.all())).values_list("role", "folder").distinct()
    return tuple(rows)


def _scopes_of(actor: Actor) -> tuple[Granted, ...] | None:
    """What a token is narrowed to; None: not narrowed."""
    if actor.kind != "token" or not actor.scopes:
        return None
    return tuple(parse_scope(scope) for scope in actor.scopes)


def can(actor: Actor, role: str, folder: str = "") -> bool:
    """May `actor` do on `folder` what needs `role`? An admin counts as a reviewer here.

    Who is excluded from a decision (the starter, an author) is the decision's own matter and holds for admins too.
    """
    scopes = _scopes_of(actor)
    return allowed(actor.grants(), role, folder) and (scopes is None or allowed(scopes, role, folder))


def require(actor: Actor, role: str, folder: str = "") -> None:
    """Raises NotAllowed, naming what is missing, unless `can`."""
    if not can(actor, role, folder):
        where = f"the folder {folder}" if folder else "all folders"
        raise NotAllowed(
            f"This needs the role {Role(role).value} on {where}.",
            hint="Ask an admin for it.",
            details={"role": Role(role).value, "folder": folder},
        )


def require_on(actor: Actor, role: str, folder: str, missing: str, code: str | None = None) -> None:
    """As `require`, for a thing that is in `folder`: to who may not view it, it is not there.

    Raises NotFound with the sentence `missing`, which says the same of a thing that never was; NotAllowed.
    """
    if not can(actor, Role.VIEWER, folder):
        raise NotFound(missing, code=code)
    require(actor, role, folder)


def require_some_role(actor: Actor) -> None:
    """For what belongs to no folder: whoever views any folder may see it. Raises NotAllowed."""
    if folders_for(actor, "viewer") == []:
        raise NotAllowed("You have no role here yet.", hint="Ask an admin for one.")


def _roots(grants: Iterable[Granted], role: str) -> list[str]:
    """The topmost folders on which the grants include `role`, sorted; "" covers all others."""
    folders = {folder for held, folder in grants if includes(held, role)}
    return sorted(f for f in folders if not any(other != f and covers(other, f) for other in folders))


def folders_for(actor: Actor, role: str) -> list[str] | None:
    """Folders on which `actor` has `role`, each with all below it; None: every folder, []: none."""
    roots = _roots(actor.grants(), role)
    scopes = _scopes_of(actor)
    if scopes is not None:
        wide = _roots(scopes, role)
        both = [f for f in roots if allowed(scopes, role, f)] + [f for f in wide if allowed(actor.grants(), role, f)]
        roots = sorted(set(both))
    return None if "" in roots else roots


def folder_filter(actor: Actor, role: str, column: str = "folder") -> Q:
    """A condition that keeps the rows whose `column` is a folder on which `actor` has `role`."""
    folders = folders_for(actor, role)
    if folders is None:
        return Q()
    condition = Q(pk__in=[])
    for folder in folders:
        condition |= Q(**{column: folder}) | Q(**{f"{column}__startswith": f"{folder}/"})
    return condition
