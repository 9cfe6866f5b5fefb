"""Groups of people: roles are given to them, and approvals name them. Admins of everything."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import transaction

from resources import audit
from resources.access import Actor, require
from resources.errors import BadInput, Conflict, NotFound
from resources.models import Role
from resources.people import accounts
from resources.people.keeping_admins import an_admin_stays


def find(name: str) -> Group:
    """Raises NotFound."""
    group = Group.objects.filter(name=name).first() if "\0" not in name else None
    if group is None:
        raise NotFound(f"There is no group {name[:40]!r}.")
    return group


@transaction.atomic
def create_group(*, actor: Actor, name: str) -> Group:
    """Raises NotAllowed, BadInput, Conflict `name_taken`."""
    require(actor, Role.ADMIN)
    if not 0 < len(name) <= 100 or not name.isprintable() or name != name.strip() or "/" in name:
        said = "A group's name has 1 to 100 characters, none of them a slash."
        raise BadInput(said, details=[{"path": "name", "message": said}])
    if Group.objects.filter(name__iexact=name).exists():
        raise Conflict(f"There is a group {name} already.", code="name_taken")
    group = Group.objects.create(name=name)
    _record(actor, "group.created", group, {})
    return group


@transaction.atomic
def delete_group(*, actor: Actor, name: str, reason: str = "") -> None:
    """With the roles that were given to it. Raises NotFound, NotAllowed, Conflict `last_admin`."""
    require(actor, Role.ADMIN)
    group = find(name)
    members = sorted(group.user_set.values_list("username", flat=True)[:1000])
    grants = [f"{role}:{folder}" for role, folder in group.grants.values_list("role", "folder").order_by("pk")]
    with an_admin_stays():
        Group.objects.filter(pk=group.pk).delete()
    _record(actor, "group.deleted", group, {"members": members, "grants": grants, "reason": reason[:500]})


@transaction.atomic
def add_member(*, actor: Actor, name: str, member: str) -> Group:
    """Who is in it already stays. Raises NotFound, NotAllowed."""
    require(actor, Role.ADMIN)
    group, user = find(name), accounts.find(member)
    if not group.user_set.filter(pk=user.pk).exists():
        group.user_set.add(user)
        _record(actor, "group.member_added", group, {"member": member})
    return group


@transaction.atomic
def remove_member(*, actor: Actor, name: str, member: str) -> Group:
    """Raises NotFound, NotAllowed, Conflict `last_admin`."""
    require(actor, Role.ADMIN)
    group, user = find(name), accounts.find(member)
    if not group.user_set.filter(pk=user.pk).exists():
        raise NotFound(f"{member} is not in the group {name}.")
    with an_admin_stays():
        group.user_set.remove(user)
    _record(actor, "group.member_removed", group, {"member": member})
    return group


def _record(actor: Actor, action: str, group: Group, data: dict[str, object]) -> None:
    audit.record(actor=actor, action=action, object_type="group", object_id=group.name, data=data)
