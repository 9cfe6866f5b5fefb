"""What a new release means for the runs of older ones: `on_new_release` of the release that goes live.

coexist: nothing. drain: its runs wait in line until the runs of older releases have ended. supersede: those are
cancelled. The moment it goes live only notes it on the flow's gate; a keeper does the rest, in bounded batches.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from flows.definition.plan import Plan
from flows.models import Flow
from runs import admission, clock, flow_actions, gates, store
from runs.models import FlowGate, Run, RunStatus

#: a flow whose release drains or supersedes older ones
WHEN: Final = "EXISTS (SELECT 1 FROM runs_flowgate WHERE draining IS NOT NULL OR superseding IS NOT NULL)"
#: runs cancelled in one turn of the keeper
BATCH: Final = 50
#: seconds for which starts that read the old live release may still come in
SETTLE: Final = 1.0
POLL: Final = 1.0


def on_live_changed(sender: Any, *, flow: Flow, plan: Plan, **_: Any) -> None:
    """Note what the release wants, in the transaction that makes it live."""
    if plan.on_new_release == "coexist" and not FlowGate.objects.filter(flow=flow).exists():
        return
    gate = gates.lock(flow.pk)
    was = gate.draining
    gate.draining = (was or flow.live_id) if plan.on_new_release == "drain" else None  # one release after the other
    gate.superseding = flow.live_id if plan.on_new_release == "supersede" else None
    gate.released_at = clock.now()
    gate.save(update_fields=["draining", "superseding", "released_at"])
    if was is not None and gate.draining is None:
        flow_actions.admit_waiting(flow.pk)


def turn(now: float) -> float | None:
    """A keeper's duty. Gives when to look again, None while nothing is pending."""
    pending = FlowGate.objects.filter(Q(draining__isnull=False) | Q(superseding__isnull=False)).order_by("released_at")
    found = list(pending[:BATCH])
    for gate in found:
        if gate.superseding is not None:
            _supersede(gate, now)
        if gate.draining is not None:
            _drain(gate, now)
    return now + POLL if found else None


def older(flow_id: int, release_id: int) -> Any:
    """Runs of older releases that have not ended. Not those in line: they would wait for themselves."""
    return Run.objects.filter(flow_id=flow_id, release_id__lt=release_id, ended_at__isnull=True)


def _supersede(gate: FlowGate, now: float) -> None:
    ending = (RunStatus.CANCELLING, RunStatus.COMPENSATING)
    left = older(gate.flow_id, gate.superseding or 0).exclude(status__in=ending)
    found = list(left.order_by("created_at", "pk").values_list("pk", flat=True)[:BATCH])
    for run_id in found:
        admission.cancel(run_id, "A newer release went live, which supersedes the runs of older ones.")
    if not found and now - (gate.released_at or 0.0) > SETTLE:
        mine = FlowGate.objects.filter(pk=gate.pk, superseding=gate.superseding)
        mine.update(superseding=None)


def _drain(gate: FlowGate, now: float) -> None:
    if now - (gate.released_at or 0.0) <= SETTLE or older(gate.flow_id, gate.draining or 0).exists():
        return
    with transaction.atomic():
        fresh = gates.lock(gate.flow_id)
        if fresh.draining != gate.draining:
            return
        live = Flow.objects.values_list("live_id", flat=True).get(pk=gate.flow_id)
        again = live != fresh.draining and store.plan_of(live).on_new_release == "drain"
        fresh.draining = live if again else None
        fresh.save(update_fields=["draining"])
        flow_actions.admit_waiting(gate.flow_id)
