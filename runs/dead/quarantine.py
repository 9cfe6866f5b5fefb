"""Inputs that a flow refuses at start: put there by an operator or by failures that repeat, released by hand."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from flows.definition.canonical import digest
from resources import audit
from resources.access import Actor, can, folder_filter, require
from resources.errors import Conflict, NotFound
from resources.models import Role
from runs import clock, gates
from runs.dead.dismissing import check_reason
from runs.models import Quarantine, Run


def visible(actor: Actor) -> QuerySet[Quarantine]:
    """Of flows in folders the actor may view, released ones included."""
    return Quarantine.objects.filter(folder_filter(actor, Role.VIEWER, "flow__folder")).select_related("flow")


def find(actor: Actor, pk: int) -> Quarantine:
    """Raises NotFound."""
    row = visible(actor).filter(pk=pk).first() if pk < 2**62 else None
    if row is None:
        raise NotFound("There is no such input in quarantine, or you may not see it.", code="quarantine_not_found")
    return row


def quarantine_input(*, actor: Actor, run_id: str, reason: str) -> Quarantine:
    """Refuse the input of this run from now on at every start of its flow; runs that began go on.

    Raises NotFound, NotAllowed, BadInput `bad_reason`, Conflict `already_quarantined`.
    """
    reason = check_reason(reason)
    rows = Run.objects.filter(folder_filter(actor, Role.VIEWER, "flow__folder"), pk=run_id)
    run = rows.select_related("flow").first()
    if run is None:
        raise NotFound("There is no such run.", code="run_not_found")
    require(actor, Role.OPERATOR, run.flow.folder)
    row = put_in(actor, run, digest(run.input), reason)
    if row is None:
        raise Conflict("This input is in quarantine already.", code="already_quarantined")
    return row


@transaction.atomic
def put_in(actor: Actor, run: Run, mark: str, reason: str) -> Quarantine | None:
    """None where it is there already. `mark`: the digest of the run's input. `run.flow` has been read."""
    gate = gates.lock(run.flow_id)
    if Quarantine.objects.filter(flow_id=run.flow_id, digest=mark, released_at__isnull=True).exists():
        return None
    row = Quarantine.objects.create(
        flow_id=run.flow_id, digest=mark, reason=reason[:1000], actor=actor.name[:150], run_id=run.pk, at=clock.now()
    )
    gate.quarantined += 1
    gate.save(update_fields=["quarantined"])
    _record(actor, "quarantined", run.flow.slug, row, {"reason": reason, "run": run.pk})
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
        row.released_at, row.released_by, row.release_reason = clock.now(), actor.name[:150], reason
        row.save(update_fields=["released_at", "released_by", "release_reason"])
        gate.quarantined = Quarantine.objects.filter(flow_id=row.flow_id, released_at__isnull=True).count()
        gate.save(update_fields=["quarantined"])
        _record(actor, "released", row.flow.slug, row, {"reason": reason})
    return row


def operates(actor: Actor, row: Quarantine) -> bool:
    return can(actor, Role.OPERATOR, row.flow.folder)


def _record(actor: Actor, what: str, slug: str, row: Quarantine, data: dict[str, object]) -> None:
    data = {**data, "quarantine": row.pk, "input_sha256": row.digest}
    audit.record(actor=actor, action=f"input.{what}", object_type="flow", object_id=slug, data=data)
