"""Bindings as they are now. A name is looked up when a step's action is worked out, never kept with the run: what an
approval saw names the connection itself, so that a binding that changes later is asked about again."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q

from flows.definition.bindings import Bindings, Place, Sides, stands_for
from flows.models import Binding


def connection_for(name: str, place: Place) -> str:
    """The connection that a name in a flow stands for there, now. One query."""
    return stands_for(name, place, read(names=[name], flow=place.flow))


def read(*, names: Collection[str] | None = None, flow: str | None = None) -> Bindings:
    """The bindings of these names, or all; of this flow and of all flows, or of every flow. One query."""
    rows = Binding.objects.all()
    if names is not None:
        rows = rows.filter(name__in=names)
    if flow is not None:
        rows = rows.filter(Q(flow__isnull=True) | Q(flow__slug=flow))
    found = rows.values_list("flow__slug", "name", "test", "live")
    return {(slug or "", name): Sides(test, live) for slug, name, test, live in found}


def reaching(connection: str) -> set[str]:
    """The names that some binding says stand for it. One query."""
    rows = Binding.objects.filter(Q(live=connection) | Q(test=connection))
    return set(rows.values_list("name", flat=True))
