"""What people see of bindings: the names of a flow and what each stands for. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows import bindings
from flows.definition.bindings import Bindings, Place, stands_for
from flows.models import ConnectionUse, Flow
from resources.models import Connection

Json = Any


def of_flow(flow: Flow) -> list[dict[str, Json]]:
    """The names that its draft, its live release or a binding of its own has, by name. Three queries."""
    bound = bindings.read(flow=flow.slug)
    used = ConnectionUse.objects.filter(flow=flow).values_list("name", flat=True)
    names = sorted({*used, *(name for slug, name in bound if slug)})
    reached = {name: {s: stands_for(name, Place(flow.slug, s == "test"), bound) for s in SIDES} for name in names}
    wanted = {real for sides in reached.values() for real in sides.values()}
    kinds = dict(Connection.objects.filter(name__in=wanted).values_list("name", "kind")) if wanted else {}
    return [
        {"name": name, "bound": (flow.slug, name) in bound}
        | {side: _side(flow.slug, name, side, real, bound, kinds) for side, real in sides.items()}
        for name, sides in reached.items()
    ]


SIDES = ("live", "test")


def _side(
    slug: str, name: str, side: str, real: str, bound: Bindings, kinds: Mapping[str, str]
) -> dict[str, str | None]:
    by = next((word for key, word in ((slug, "flow"), ("", "workspace")) if _says(bound, (key, name), side)), "name")
    return {"connection": real, "kind": kinds.get(real), "by": by}


def _says(bound: Bindings, key: tuple[str, str], side: str) -> bool:
    return key in bound and getattr(bound[key], side) != ""
