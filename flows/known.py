"""The names that exist here and now, for lint."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from flows.definition.lint import Known
from resources.models import Connection, Secret


def known_names() -> Known:
    """Four small queries."""
    users = get_user_model().objects.filter(is_active=True)
    return Known(
        connections=frozenset(Connection.objects.values_list("name", flat=True)),
        secrets=frozenset(Secret.objects.values_list("name", flat=True)),
        groups=frozenset(Group.objects.values_list("name", flat=True)),
        users=frozenset(users.values_list("username", flat=True)),
    )
