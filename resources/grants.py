"""Giving and taking roles. Who gives one administers the folder, so nobody gives more than they have."""

from __future__ import annotations

import re
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from resources import audit
from resources.access import Actor, can, require
from resources.errors import BadInput, NotFound
from resources.models import Grant, Role
from resources.people.keeping_admins import an_admin_stays

FOLDER: Final = re.compile(r"|[A-Za-z0-9][A-Za-z0-9 _./-]{0,199}", re.ASCII)  # as in the language's schema
MAX_REASON: Final = 500


def _whom(user: Any, group: Any) -> dict[str, str]:
    if (user is None) == (group is None):
        raise BadInput("A role is granted to one user or to one group.", hint="Name exactly one of the two.")
    return {"user": user.get_username()} if user is not None else {"group": group.name}


def check_reason(reason: str) -> str:
    """Raises BadInput."""
    if len(reason) > MAX_REASON or "\0" in reason:
        raise BadInput(f"A reason has at most {MAX_REASON} characters.", details=[{"path": "reason"}])
    return reason.strip()


def check_folder(folder: str) -> str:
    """Without slashes around it; "" is every folder. Raises BadInput."""
    folder = folder.strip("/")
    if not FOLDER.fullmatch(folder):
        raise BadInput("There can be no folder of this name.", code="bad_folder", details=[{"path": "folder"}])
    return folder


def _role(role: str) -> str:
    if role not in Role.values:
        raise BadInput(f"There is no role {role[:40]!r}; there are: {', '.join(Role.values)}.", code="bad_role",
                       details=[{"path": "role"}])  # fmt: skip
    return Role(role).value


@transaction.atomic
def grant_role(
    *, actor: Actor, role: str, folder: str = "", user: Any = None, group: Any = None, reason: str = ""
) -> Grant:
    """Grant `role` on `folder` and all below it ("" is every folder). A second grant of the same changes nothing.

    Raises NotAllowed, BadInput.
    """
    folder = check_folder(folder)
    require(actor, Role.ADMIN, folder)
    whom, reason = _whom(user, group), check_reason(reason)
    told = {"reason": reason, "created_by": actor.name[:150], "created_at": timezone.now()}
    grant, made = Grant.objects.get_or_create(user=user, group=group, folder=folder, role=_role(role), defaults=told)
    if made:
        _record(actor, "role.granted", grant, whom, reason)
    return grant


@transaction.atomic
def revoke_role(
    *, actor: Actor, role: str, folder: str = "", user: Any = None, group: Any = None, reason: str = ""
) -> bool:
    """Take a granted role back. False: there was no such grant. Raises NotAllowed, BadInput, Conflict `last_admin`."""
    folder = check_folder(folder)
    require(actor, Role.ADMIN, folder)
    whom = _whom(user, group)
    with an_admin_stays():
        grant = Grant.objects.select_for_update().filter(user=user, group=group, folder=folder, role=role).first()
        if grant is None:
            return False
        Grant.objects.filter(pk=grant.pk).delete()
    _record(actor, "role.revoked", grant, whom, check_reason(reason))
    return True


@transaction.atomic
def revoke_grant(*, actor: Actor, grant_id: int, reason: str = "") -> Grant:
    """Take this one back. Raises NotFound, also for one on a folder that the actor does not administer; as above."""
    rows = Grant.objects.select_related("user", "group")
    grant = rows.filter(pk=grant_id).first() if 0 < grant_id < 2**63 else None
    if grant is None or not can(actor, Role.ADMIN, grant.folder):
        raise NotFound("There is no such grant.")
    revoke_role(
        actor=actor, role=grant.role, folder=grant.folder, user=grant.user, group=grant.group, reason=reason
    )  # fmt: skip
    return grant


def _record(actor: Actor, action: str, grant: Grant, whom: dict[str, str], reason: str) -> None:
    data = {**whom, "role": grant.role, "folder": grant.folder} | ({"reason": reason} if reason else {})
    audit.record(actor=actor, action=action, object_type="grant", object_id=str(grant.pk), data=data)
