"""What people do to a flow's runs as a whole: pause the flow, resume it."""

from __future__ import annotations

from typing import Literal

from django.db import transaction
from django.db.models import Min

from flows.actions import visible_flow
from flows.models import Flow
from resources import audit
from resources.access import Actor, require
from resources.errors import BadInput, Conflict
from resources.models import Role
from runs import bell, clock, gates, limits
from runs.models import FlowGate, Run, RunStatus

Mode = Literal["queue", "refuse"]


def pause_flow(*, actor: Actor, slug: str, reason: str, mode: str = "queue") -> FlowGate:
    """New runs wait (`queue`) or are refused (`refuse`) until the flow is resumed; runs that began are not touched.
    Whoever starts one is told the reason.

    Pausing a paused flow changes mode and reason. Raises NotFound, NotAllowed, BadInput `bad_reason`.
    """
    flow = visible_flow(actor, slug)
    require(actor, Role.OPERATOR, flow.folder)
    if mode not in (FlowGate.Mode.QUEUE, FlowGate.Mode.REFUSE):
        raise BadInput("A paused flow queues its starts or refuses them.", hint="The mode is queue or refuse.")
    if not reason.strip():
        message = "Say why the flow is paused; whoever starts it is told."
        raise BadInput(message, code="bad_reason", details=[{"path": "reason", "message": message}])
    with transaction.atomic():
        gate = gates.lock(flow.pk)
        gate.mode, gate.reason, gate.actor, gate.at = mode, reason[:1000], actor.name[:150], clock.now()
        gate.save(update_fields=["mode", "reason", "actor", "at"])
        _record(actor, "flow.paused", flow, {"reason": reason, "mode": mode})
    return gate


def resume_flow(*, actor: Actor, slug: str, reason: str = "") -> FlowGate:
    """New runs begin again, and those that waited are admitted, the oldest first.

    Raises NotFound, NotAllowed, Conflict `flow_not_paused`.
    """
    flow = visible_flow(actor, slug)
    require(actor, Role.OPERATOR, flow.folder)
    with transaction.atomic():
        gate = gates.lock(flow.pk)
        if gate.mode == FlowGate.Mode.OPEN:
            raise Conflict(f"The flow {slug} is not paused.", code="flow_not_paused")
        gate.mode, gate.reason, gate.actor, gate.at = FlowGate.Mode.OPEN, "", "", None
        gate.save(update_fields=["mode", "reason", "actor", "at"])
        admit_waiting(flow.pk)
        _record(actor, "flow.resumed", flow, {"reason": reason})
    return gate


def admit_waiting(flow_id: int) -> int:
    """Have workers look at everything in line for this flow: once for each of its keys. Gives how many keys."""
    waiting = Run.objects.filter(flow_id=flow_id, status=RunStatus.QUEUED, placed=False)
    oldest = [row["first"] for row in waiting.values("limit_key").annotate(first=Min("pk")).order_by("first")]
    for run_id in oldest:
        limits.admit_later(run_id, clock.now())
    if oldest:
        bell.ring_on_commit(bell.WORK)
    return len(oldest)


def _record(actor: Actor, action: str, flow: Flow, data: dict[str, str]) -> None:
    audit.record(actor=actor, action=action, object_type="flow", object_id=flow.slug, data=data)
