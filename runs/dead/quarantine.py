"""Inputs that a flow refuses at start: put there by an operator or by failures that repeat.

Failures say something about the release that failed: what they put in is let go when another one goes live, a newer
one that mends it or an older one that it is taken back to. What a person put in stays until a person lets it go, unless
they said otherwise.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from flows.definition.canonical import digest
from flows.models import Flow
from resources import audit
from resources.access import Actor, can, folder_filter, require
from resources.errors import Conflict, NotFound
from resources.models import Role
from runs import clock, gates
from runs.dead.dismissing import check_reason
from runs.models import FlowGate, Quarantine, Run


def visible(actor: Actor) -> QuerySet[Quarantine]:
    """Of flows in folders the actor may view, released ones included."""
    rows = Quarantine.objects.filter(folder_filter(actor, Role.VIEWER, "flow__folder"))
    return rows.select_related("flow", "release").defer("release__source", "release__plan_json")


def find(actor: Actor, pk: int) -> Quarantine:
    """Raises NotFound."""
    row = visible(actor).filter(pk=pk).first() if pk < 2**62 else None
    if row is None:
        raise NotFound("There is no such input in quarantine, or you may not see it.", code="quarantine_not_found")
    return row


def quarantine_input(*, actor: Actor, run_id: str, reason: str, this_release_only: bool = False) -> Quarantine:
    """Refuse the input of this run from now on at every start of its flow; runs that began go on.

    `this_release_only`: until another release than the run's goes live.
    Raises NotFound, NotAllowed, BadInput `bad_reason`, Conflict `already_quarantined` | `not_live`.
    """
    reason = check_reason(reason)
    rows = Run.objects.filter(folder_filter(actor, Role.VIEWER, "flow__folder"), pk=run_id)
    run = rows.select_related("flow", "release").first()
    if run is None:
        raise NotFound("There is no such run.", code="run_not_found")
    require(actor, Role.OPERATOR, run.flow.folder)
    return put_in(actor, run, digest(run.input), reason, this_release_only=this_release_only)


@transaction.atomic
def put_in(actor: Actor, run: Run, mark: str, reason: str, *, this_release_only: bool) -> Quarantine:
    """`mark`: the digest of the run's input. `run.flow` and `run.release` have been read.

    Raises Conflict `already_quarantined`, or `not_live` where the release is the only one it is for.
    """
    gate = gates.lock(
        run.flow_id
    )  # first: a release that goes live at this moment sees this row, or we see the release
    if Quarantine.objects.filter(flow_id=run.flow_id, digest=mark, released_at__isnull=True).exists():
        raise Conflict("This input is in quarantine already.", code="already_quarantined")
    if this_release_only and not Flow.objects.filter(pk=run.flow_id, live=run.release_id).exists():
        raise Conflict(
            f"{run.release.version}, the release that failed, is not live any more.",
            code="not_live",
            hint="Refuse the input for every release, or see first what the live one makes of it.",
        )
    row = Quarantine.objects.create(
        flow_id=run.flow_id, digest=mark, reason=reason[:1000], actor=actor.name[:150], run_id=run.pk, at=clock.now(),
        release=run.release if this_release_only else None,
    )  # fmt: skip
    gate.quarantined += 1
    gate.save(update_fields=["quarantined"])
    data: dict[str, object] = {"reason": reason, "run": run.pk}
    _record(actor, "quarantined", run.flow.slug, row, {**data, "release": run.release.version} if row.release else data)
    return row


def release_input(*, actor: Actor, quarantine_id: int, reason: str) -> Quarantine:
    """Let the input start runs again; failures before now count no more.

    Raises NotFound, NotAllowed, BadInput `bad_reason`, Conflict `not_quarantined`.
    """
    row = find(actor, quarantine_id)
    require(actor, Role.OPERATOR, row.flow.folder)
    reason = check_reason(reason)
    with transaction.atomic():
        gate = gates.lock(row.flow_id)
        row.refresh_from_db(fields=["released_at"])
        if row.released_at is not None:
            raise Conflict("The input was released already.", code="not_quarantined")
        _let_go(gate, [row], actor, reason)
        _record(actor, "released", row.flow.slug, row, {"reason": reason})
    return row


def on_live_changed(*, flow: Flow, actor: Actor, **_: Any) -> None:
    """Receiver of flows.signals.live_changed: what failed with another release may be tried with this one."""
    gate = gates.lock(flow.pk)
    refused = Quarantine.objects.filter(flow=flow, released_at__isnull=True, release__isnull=False)
    rows = list(refused.exclude(release=flow.live_id).select_related("flow"))
    if not rows or flow.live is None:
        return
    reason = f"{flow.live.version} went live."
    _let_go(gate, rows, actor, reason)
    for row in rows:
        _record(actor, "released", flow.slug, row, {"reason": reason})


def _let_go(gate: FlowGate, rows: list[Quarantine], actor: Actor, reason: str) -> None:
    """`gate`: of their flow, locked."""
    for row in rows:
        row.released_at, row.released_by, row.release_reason = clock.now(), actor.name[:150], reason
        row.save(update_fields=["released_at", "released_by", "release_reason"])
    gate.quarantined = Quarantine.objects.filter(flow_id=gate.flow_id, released_at__isnull=True).count()
    gate.save(update_fields=["quarantined"])


def operates(actor: Actor, row: Quarantine) -> bool:
    return can(actor, Role.OPERATOR, row.flow.folder)


def _record(actor: Actor, what: str, slug: str, row: Quarantine, data: dict[str, object]) -> None:
    data = {**data, "quarantine": row.pk, "input_sha256": row.digest}
    audit.record(actor=actor, action=f"input.{what}", object_type="flow", object_id=slug, data=data)
