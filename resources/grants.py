"""Giving and taking roles."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from resources import audit
from resources.access import Actor, require
from resources.errors import BadInput
from resources.models import Grant, Role


def _whom(user: Any, group: Any) -> dict[str, str]:
    if (user is None) == (group is None):
        raise BadInput("A role is granted to one user or to one group.", hint="Name exactly one of the two.")
    return {"user": user.get_username()} if user is not None else {"group": group.name}


@transaction.atomic
def grant_role(*, actor: Actor, role: str, folder: str = "", user: Any = None, group: Any = None) -> Grant:
    """Grant `role` on `folder` and all below it ("" is every folder). A second grant of the same changes nothing."""
    folder = folder.strip("/")
    require(actor, Role.ADMIN, folder)
    whom = _whom(user, group)
    grant, made = Grant.objects.get_or_create(user=user, group=group, folder=folder, role=Role(role).value)
    if made:
        data = {**whom, "role": grant.role, "folder": folder}
        audit.record(actor=actor, action="role.granted", object_type="grant", object_id=str(grant.pk), data=data)
    return grant


@transaction.atomic
def revoke_role(*, actor: Actor, role: str, folder: str = "", user: Any = None, group: Any = None) -> bool:
    """Take a granted role back. False: there was no such grant."""
    folder = folder.strip("/")
    require(actor, Role.ADMIN, folder)
    whom = _whom(user, group)
    grant = Grant.objects.select_for_update().filter(user=user, group=group, folder=folder, role=role).first()
    if grant is None:
        return False
    data = {**whom, "role": grant.role, "folder": folder}
    object_id = str(grant.pk)
    grant.delete()
    audit.record(actor=actor, action="role.revoked", object_type="grant", object_id=object_id, data=data)
    return True
