"""The names that exist here and now, for lint."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from flows import bindings
from flows.definition.lint import Known
from flows.models import Flow, Variable
from flows.steps.registry import all_families
from resources.models import Connection, Secret


def known_names() -> Known:
    """Seven small queries."""
    users = get_user_model().objects.filter(is_active=True)
    return Known(
        connections=dict(Connection.objects.values_list("name", "kind")),
        secrets=frozenset(Secret.objects.values_list("name", flat=True)),
        variables=frozenset(Variable.objects.values_list("name", flat=True)),
        groups=frozenset(Group.objects.values_list("name", flat=True)),
        flows=frozenset(Flow.objects.filter(live__isnull=False).values_list("slug", flat=True)),
        users=frozenset(users.values_list("username", flat=True)),
        bindings=bindings.read(),
        kinds={member.name: member.connection_kinds for member in all_families()},
    )
