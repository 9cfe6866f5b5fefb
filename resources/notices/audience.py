"""Who has a role on a folder: those who are told of what happens there."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q

from resources.models import Grant, Role
from resources.notices.people import MAX_PEOPLE


def holders(role: Role, folder: str = "") -> set[int]:
    """Ids of the active people who may there what needs `role`, by a grant of their own, of a group, or as superuser;
    "" is what belongs to no folder. At most MAX_PEOPLE, the first who came."""
    parts = folder.split("/") if folder else []
    above = ["", *("/".join(parts[: n + 1]) for n in range(len(parts)))]
    held = Grant.objects.filter(role__in={role, Role.ADMIN}, folder__in=above)
    named = Q(pk__in=held.exclude(user=None).values("user")) | Q(groups__in=held.exclude(group=None).values("group"))
    users: Any = get_user_model().objects.filter(named | Q(is_superuser=True), is_active=True).distinct()
    return set(users.order_by("pk").values_list("pk", flat=True)[:MAX_PEOPLE])
