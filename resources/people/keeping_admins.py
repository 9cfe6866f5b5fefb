"""Somebody administers everything, always: the last one who does is not taken away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User
from django.db.models import Q

from resources.errors import Conflict
from resources.models import Grant, Role


def _admins() -> bool:
    by_grant = Q(grants__role=Role.ADMIN, grants__folder="") | Q(
        groups__grants__role=Role.ADMIN, groups__grants__folder=""
    )
    return User.objects.filter(by_grant | Q(is_superuser=True), is_active=True).exists()


@contextmanager
def an_admin_stays() -> Iterator[None]:
    """Around a change, in its transaction. Two such changes take turns, so that both cannot count on the other's admin.

    Raises Conflict `last_admin` where there was somebody and now is nobody.
    """
    rows = Grant.objects.select_for_update().filter(role=Role.ADMIN, folder="").order_by("pk")
    list(rows.values_list("pk", flat=True))
    list(User.objects.select_for_update().filter(is_superuser=True).order_by("pk").values_list("pk", flat=True))
    had = _admins()
    yield
    if had and not _admins():
        raise Conflict(
            "Nobody would administer everything any more.", code="last_admin", hint="Make somebody else an admin first."
        )
