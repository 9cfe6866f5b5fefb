"""Setting what a connection's name in flows stands for. Of all flows: admins. Of one flow: admins of its folder, and
its authors for test runs."""

from __future__ import annotations

from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet

from flows import bindings
from flows.actions import visible_flow
from flows.definition.bindings import Sides
from flows.models import Binding, Flow
from flows.signals import bindings_changed
from resources import audit
from resources.access import Actor, can, folder_filter, require, require_some_role
from resources.errors import BadInput, NotFound
from resources.models import Connection, Role
from resources.names import SLUG, check_slug

SIDES: Final = ("test", "live")


def visible(actor: Actor) -> QuerySet[Binding]:
    """Those of all flows, and of flows whose folder the actor views. Raises NotAllowed for who has no role."""
    require_some_role(actor)
    seen = Q(flow__isnull=True) | Q(flow__in=Flow.objects.filter(folder_filter(actor, Role.VIEWER)))
    return Binding.objects.select_related("flow", "updated_by").filter(seen).order_by("name", "flow__slug")


def get(actor: Actor, name: str, flow: str = "") -> Binding:
    """Raises NotFound."""
    owner = visible_flow(actor, flow) if flow else None  # first: to who may not view it, it is not there
    rows = visible(actor).filter(name=name) if SLUG.fullmatch(name) else Binding.objects.none()
    row = rows.filter(flow=owner).first()
    if row is None:
        raise NotFound(f"There is no binding {name}{f' of the flow {flow}' if flow else ''}.", code="binding_not_found")
    return row


def set_binding(*, actor: Actor, name: str, flow: str = "", test: str = "", live: str = "") -> Binding:
    """Make or replace a binding; an empty side leaves the name to the binding of all flows, then to itself.

    Steps that are worked out from now on go by it. Raises NotFound (the flow), NotAllowed, BadInput with
    [{path, message}] in details.
    """
    owner, after = visible_flow(actor, flow) if flow else None, Sides(test, live)
    check_slug(name)
    if after == Sides():
        raise _bad("live", "Name a connection for test runs, for live runs, or for both.")
    with transaction.atomic():
        row = Binding.objects.select_for_update().filter(flow=owner, name=name).first()
        before = Sides(row.test, row.live) if row is not None else Sides()
        _require(actor, owner, before, after)
        _check_there(before, after)
        told = _told(flow, name)
        row = row or Binding(flow=owner, name=name)
        row.test, row.live, row.updated_by = test, live, actor.user
        row.save()
        _record(actor, "set", name, flow, before, after)
        bindings_changed.send(sender=None, flow=flow, connections=told)
    return row


def delete_binding(*, actor: Actor, name: str, flow: str = "") -> None:
    """Raises NotFound, NotAllowed."""
    found = get(actor, name, flow)
    with transaction.atomic():
        row = Binding.objects.select_for_update().filter(pk=found.pk).first() or found
        before = Sides(row.test, row.live)
        _require(actor, found.flow, before, Sides())
        told = _told(flow, name)
        Binding.objects.filter(pk=found.pk).delete()
        _record(actor, "deleted", name, flow, before, Sides())
        bindings_changed.send(sender=None, flow=flow, connections=told)


def may_set(actor: Actor, flow: Flow | None) -> dict[str, bool]:
    """{side: may the actor change it}."""
    folder = flow.folder if flow is not None else ""
    author = flow is not None and can(actor, Role.AUTHOR, folder)
    admin = can(actor, Role.ADMIN, folder)
    return {"test": admin or author, "live": admin}


def _require(actor: Actor, flow: Flow | None, before: Sides, after: Sides) -> None:
    """Raises NotAllowed unless the actor may change what differs."""
    folder = flow.folder if flow is not None else ""
    if flow is None or before.live != after.live:
        require(actor, Role.ADMIN, folder)
    else:
        require(actor, Role.AUTHOR, folder)


def _check_there(before: Sides, after: Sides) -> None:
    """A side that changes names a connection; locked, so that it cannot be deleted before this binding is seen."""
    for side in SIDES:
        name: str = getattr(after, side)
        if name and name != getattr(before, side):
            rows = Connection.objects.select_for_update().filter(name=name) if SLUG.fullmatch(name) else None
            if rows is None or rows.values_list("pk").first() is None:
                raise _bad(side, f"There is no connection {name[:64]}. Add it first.")


def _told(flow: str, name: str) -> set[str]:
    """What the name may have stood for until now, in that flow or in all."""
    known = bindings.read(names=[name], flow=flow or None)
    return {name} | {real for sides in known.values() for real in (sides.test, sides.live) if real}


def _record(actor: Actor, what: str, name: str, flow: str, before: Sides, after: Sides) -> None:
    data = {
        "flow": flow,
        "before": {side: getattr(before, side) for side in SIDES},
        "after": {side: getattr(after, side) for side in SIDES},
    }
    audit.record(actor=actor, action=f"binding.{what}", object_type="binding", object_id=name, data=data)


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])
