"""What is in line, for people: a flow's gate, and what a queued run waits for. Reads only."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Q

from flows.models import Flow, Release
from runs import gates, limits
from runs.models import FlowGate, LimitKey, Run, RunStatus

#: runs in line that are counted
MOST: Final = 10_000
#: runs that are named
NAMED: Final = 5


def of_flow(flow: Flow) -> dict[str, Any]:
    """{paused, mode, reason, actor, at, queued, draining}; `draining`: the release's version or None."""
    gate = FlowGate.objects.filter(flow=flow).first() or FlowGate(flow=flow)
    queued = len(Run.objects.filter(flow=flow, status=RunStatus.QUEUED).values_list("pk")[:MOST])
    drains = Release.objects.filter(flow=flow, pk=gate.draining or 0).values_list("version", flat=True).first()
    return {
        "paused": gate.mode != "",
        "mode": gate.mode,
        "reason": gate.reason,
        "actor": gate.actor,
        "at": gate.at,
        "queued": queued,
        "draining": drains,
    }


def of_run(run: Run) -> dict[str, Any] | None:
    """What a run that has not begun waits for, or None: {kind, sentence, key, position, holders: [run ids]}.

    kind: paused | release | key | worker. `position`: 1 is the next in its line.
    """
    if run.status != RunStatus.QUEUED:
        return None
    if run.placed:
        return _held("worker", "It has its place and waits for a free worker.")
    gate = gates.read(run.flow_id)
    position = _position(run)
    if gate.mode:
        by = f" by {gate.actor}" if gate.actor else ""
        why = f": {gate.reason.rstrip('.')}" if gate.reason else ""
        return _held("paused", f"The flow is paused{by}{why}. Runs begin in order once it is resumed.", position)
    if gate.holds(run.release_id):
        older = Run.objects.filter(flow_id=run.flow_id, release_id__lt=run.release_id, ended_at__isnull=True)
        ids = list(older.order_by("created_at").values_list("pk", flat=True)[:NAMED])
        return _held("release", "Runs of older releases have to end first.", position, holders=ids)
    found = LimitKey.objects.filter(digest=run.limit_key).only("digest", "label").first()
    label = found.label if found is not None else ""
    ids = limits.holders(run.flow_id, run.limit_key)[:NAMED]
    said = f"The concurrency key {label!r} has no free place." if run.limit_key else "It is admitted in a moment."
    return _held("key", said, position, key=label, holders=ids)


def _position(run: Run) -> int:
    line = Run.objects.filter(flow_id=run.flow_id, limit_key=run.limit_key, status=RunStatus.QUEUED, placed=False)
    before = Q(created_at__lt=run.created_at) | Q(created_at=run.created_at, pk__lt=run.pk)
    return len(line.filter(before).values_list("pk")[:MOST]) + 1


def _held(
    kind: str, sentence: str, position: int = 1, *, key: str = "", holders: list[str] | None = None
) -> dict[str, Any]:
    return {"kind": kind, "sentence": sentence, "key": key, "position": position, "holders": holders or []}
