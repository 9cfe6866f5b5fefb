"""Who there is, what they were given, and why they may what they may. Reads only, a bounded number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.contrib.auth.models import Group, User
from django.db.models import Prefetch, Q, QuerySet

from resources.access import Actor, can, folder_filter, folders_for, require
from resources.errors import NotAllowed
from resources.grants import check_folder
from resources.models import Grant, Role
from resources.people.rules import ACTIONS, Source, because

PER_PAGE: Final = 100
MAX_GROUPS: Final = 500


@dataclass(frozen=True, slots=True)
class Row:
    """A person as a list shows them; `sources`: what the one who looks may know of."""

    user: User
    sources: list[Source]
    groups: list[str]


def require_some_admin(actor: Actor) -> None:
    """Raises NotAllowed unless the actor administers some folder."""
    if folders_for(actor, Role.ADMIN) == []:
        raise NotAllowed("This needs the role admin on some folder.", hint="Ask an admin for it.")


def grants(actor: Actor) -> QuerySet[Grant]:
    """On the folders that the actor administers."""
    rows = Grant.objects.filter(folder_filter(actor, Role.ADMIN)).select_related("user", "group")
    return rows.order_by("folder", "role", "pk")


def people(actor: Actor, *, search: str = "", after: str = "", limit: int = PER_PAGE) -> tuple[list[Row], bool]:
    """(people by name, are there more). Folder admins see everybody's name, and roles on their folders only.

    Raises NotAllowed.
    """
    require_some_admin(actor)
    users = User.objects.all()
    if search and "\0" not in search:
        users = users.filter(Q(username__icontains=search) | Q(first_name__icontains=search) | Q(email__iexact=search))
    if after:
        users = users.filter(username__gt=after)
    found = list(users.order_by("username").prefetch_related(_groups())[: limit + 1])
    sources = sources_of(found[:limit], folders=folder_filter(actor, Role.ADMIN))
    rows = [Row(user, sources[user.pk], [g.name for g in user.groups.all()]) for user in found[:limit]]
    return rows, len(found) > limit


def row_of(actor: Actor, user: User) -> Row:
    """Oneself whole; others as `people` shows them. Raises NotAllowed."""
    own = actor.user is not None and actor.user.pk == user.pk
    if not own:
        require_some_admin(actor)
    sources = sources_of([user], folders=Q() if own else folder_filter(actor, Role.ADMIN))
    return Row(user, sources[user.pk], list(user.groups.order_by("name").values_list("name", flat=True)))


def _groups() -> Prefetch[str]:
    return Prefetch("groups", Group.objects.order_by("name"))


def sources_of(users: Iterable[User], *, folders: Q | None = None) -> dict[int, list[Source]]:
    """{user id: where their roles come from}: two queries for any number of people. Of who is switched off, too."""
    known = {user.pk: user for user in users}
    found: dict[int, list[Source]] = defaultdict(list)
    rows = Grant.objects.filter(folders or Q()).order_by("folder", "role", "pk")
    for row in rows.filter(user__in=known):
        found[row.user_id or 0].append(_source(row, ""))
    through = rows.filter(group__user__in=known).values_list(
        "group__user", "group__name", "pk", "role", "folder", "reason"
    )
    for user_id, group, pk, role, folder, reason in through:
        found[user_id].append(Source(role, folder, group, pk, reason))
    for pk, user in known.items():
        if user.is_superuser:
            found[pk].insert(0, Source(Role.ADMIN.value, ""))
    return found


def _source(row: Grant, group: str) -> Source:
    return Source(row.role, row.folder, group, row.pk, row.reason)


def groups(actor: Actor) -> list[Group]:
    """By name, with members; grants only on folders that the actor administers. Raises NotAllowed."""
    require_some_admin(actor)
    seen = Grant.objects.filter(folder_filter(actor, Role.ADMIN)).order_by("folder", "role")
    rows = Group.objects.prefetch_related(
        Prefetch("user_set", User.objects.order_by("username")), Prefetch("grants", seen)
    )
    return list(rows.order_by("name")[:MAX_GROUPS])


@dataclass(frozen=True, slots=True)
class Line:
    """One person in the table of a folder. `may`: {action: what allows it, [] where nothing does}."""

    user: User
    may: dict[str, list[Source]]


def on_folder(actor: Actor, folder: str) -> list[Line]:
    """Everybody active who may do anything on `folder`, by name; 1,000 at most. Raises NotAllowed, BadInput."""
    folder = check_folder(folder)
    require(actor, Role.ADMIN, folder)
    parts = folder.split("/") if folder else []
    above = ["", *("/".join(parts[:n]) for n in range(1, len(parts) + 1))]
    held = Q(grants__folder__in=above) | Q(groups__grants__folder__in=above) | Q(is_superuser=True)
    users = list(User.objects.filter(held, is_active=True).distinct().order_by("username")[:1000])
    sources = sources_of(users, folders=Q(folder__in=above))
    return [Line(user, {name: because(sources[user.pk], name, folder) for name in ACTIONS}) for user in users]


def explain(actor: Actor, user: User, action: str, folder: str) -> list[Source]:
    """What allows `user` to do `action` on `folder`: for themselves, or for admins of the folder. Raises NotAllowed."""
    folder = check_folder(folder)
    if actor.user is None or actor.user.pk != user.pk:
        require(actor, Role.ADMIN, folder)
    return because(sources_of([user])[user.pk], action, folder) if user.is_active else []


def folders_known(actor: Actor) -> list[str]:
    """Folders that grants name, of those the actor administers."""
    rows = Grant.objects.filter(folder_filter(actor, Role.ADMIN)).exclude(folder="")
    return sorted(set(rows.values_list("folder", flat=True)[:1000]))


def may_manage(actor: Actor) -> bool:
    """May they invite people, switch them off, and change groups?"""
    return can(actor, Role.ADMIN)
