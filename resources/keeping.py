"""How long resources are kept, their labels, and deleting them.

Deleting is two steps. A resource that nothing open holds is condemned under its row's lock: from then on nobody finds
it. An hour later, when every transaction that may have named it before has ended, it is looked at again: what an open
run names after all is given back, the others go, and with the last of equal ones the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from resources import artifacts, audit, blobs, holding, parts
from resources.access import Actor, require
from resources.errors import BadInput, Conflict
from resources.labels import check_labels
from resources.models import Artifact, ResourceUse, Role
from resources.receiving import links as receiving

BATCH: Final = 100
#: seconds between condemning and deleting; longer than any transaction
COOLING: Final = 3600.0
#: seconds between two looks for bytes that nobody names, and for what crashes left
SWEEP: Final = 3600.0
PAUSE: Final = 60.0
Keep = Artifact.Keep


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


@transaction.atomic
def update_resource(
    *,
    actor: Actor,
    artifact_id: str,
    keep: str | None = None,
    keep_until: float | None = None,
    pinned: bool | None = None,
    labels: Mapping[str, Any] | None = None,
) -> Artifact:
    """Change what is given. `keep_until`: epoch seconds, with keep "until". Operators of its folder.

    Raises NotFound, NotAllowed, BadInput.
    """
    row = _locked(actor, artifact_id)
    before = facts(row)
    if keep is not None:
        row.keep, row.keep_until = _checked_keep(row, keep, keep_until)
    if pinned is not None:
        row.pinned = pinned
    if labels is not None:
        row.labels = check_labels(labels)
    row.condemned_at = None  # what something open holds although it was to go: somebody wants it
    row.save(update_fields=["keep", "keep_until", "pinned", "labels", "condemned_at"])
    _record(actor, "resource.changed", row, {"before": before, "after": facts(row)})
    return row


def _checked_keep(row: Artifact, keep: str, until: float | None) -> tuple[str, float | None]:
    if keep not in Keep.values:
        raise _bad("keep", f"Keep it {', '.join(Keep.values)}.")
    if keep == Keep.RUN and not row.run_id:
        raise _bad("keep", "It belongs to no run: keep it until a date, or for ever.")
    if (keep == Keep.UNTIL) != (until is not None):
        raise _bad("keep_until", "Give a date with keep until, and only then.")
    return keep, until


def facts(row: Artifact) -> dict[str, Any]:
    return {"keep": row.keep, "keep_until": row.keep_until, "pinned": row.pinned, "labels": row.labels}


@transaction.atomic
def delete_resource(*, actor: Actor, artifact_id: str, now: float) -> None:
    """Operators of its folder. Raises NotFound, NotAllowed, Conflict `pinned` or `in_use`."""
    row = _locked(actor, artifact_id)
    if row.pinned:
        raise Conflict("The resource is pinned.", hint="Take the pin off first.", code="pinned")
    who = holding.held([row.pk]).get(row.pk)
    if who:
        raise Conflict(f"The resource is in use by {who}.", hint="Wait for its end.", code="in_use", details=[who])
    # should it be given back, it goes as soon as it can
    row.keep, row.keep_until, row.condemned_at = Keep.UNTIL, now, now
    row.save(update_fields=["keep", "keep_until", "condemned_at"])
    _record(actor, "resource.deleted", row, {"name": row.name, "sha256": row.sha256, "size": row.size})


def _locked(actor: Actor, artifact_id: str) -> Artifact:
    found = artifacts.seen(actor, artifact_id)
    require(actor, Role.OPERATOR, found.folder)
    rows = Artifact.objects.select_for_update(of=("self",)).select_related("blob")
    row = rows.filter(pk=found.pk).first()
    if row is None or not artifacts.there(row):
        return artifacts.get(artifact_id)  # deleted meanwhile: says so
    return row


def _record(actor: Actor, action: str, row: Artifact, data: dict[str, Any]) -> None:
    audit.record(actor=actor, action=action, object_type="resource", object_id=row.pk, data=data)


def release_run_resources(run_ids: list[str], now: float) -> None:
    """The runs go, in this transaction: what was kept as long as they were has no reason left to stay."""
    Artifact.objects.filter(run_id__in=run_ids, keep=Keep.RUN).update(keep=Keep.UNTIL, keep_until=now)
    ResourceUse.objects.filter(run_id__in=run_ids).delete()


class Duty:
    """The keeper's: condemn what is over, delete what was condemned, sweep bytes that nobody names."""

    def __init__(self) -> None:
        self._after: tuple[float, str] = (0.0, "")
        self._sweep_at = 0.0

    def turn(self, now: float) -> float:
        full = self.condemn(now)
        full |= drop_condemned(now)
        full |= parts.forget_expired(now)
        full |= receiving.forget(now)
        if now >= self._sweep_at:
            full |= blobs.sweep_unused() == blobs.BATCH
            blobs.sweep_orphans(now)
            self._sweep_at = now + SWEEP
        return now if full else now + PAUSE

    def condemn(self, now: float) -> bool:
        """One batch of those whose time is over; is there more? What is held is passed over until the next round."""
        at, last = self._after
        rows = Artifact.objects.filter(keep_until__lte=now, condemned_at__isnull=True, pinned=False)
        rows = rows.filter(Q(keep_until__gt=at) | Q(keep_until=at, pk__gt=last)).order_by("keep_until", "pk")
        with transaction.atomic():
            found = list(rows.select_for_update(skip_locked=True)[:BATCH])
            busy = holding.held([row.pk for row in found]) if found else {}
            free = [row.pk for row in found if row.pk not in busy]
            Artifact.objects.filter(pk__in=free).update(condemned_at=now)
        more = len(found) == BATCH
        self._after = (found[-1].keep_until or 0.0, found[-1].pk) if more else (0.0, "")
        return more


def drop_condemned(now: float) -> bool:
    """One batch of what was condemned COOLING ago; is there more? What something open names is given back."""
    rows = Artifact.objects.filter(condemned_at__lte=now - COOLING).order_by("condemned_at")
    with transaction.atomic():
        found = list(rows.select_for_update(skip_locked=True)[:BATCH])
        busy = holding.held([row.pk for row in found]) if found else {}
        Artifact.objects.filter(pk__in=list(busy)).update(condemned_at=None)
        gone = [row for row in found if row.pk not in busy]
        Artifact.objects.filter(pk__in=[row.pk for row in gone]).delete()
        if gone:
            data = {"resources": [row.pk for row in gone]}
            actor = Actor.system("retention")
            audit.record(
                actor=actor, action="resources.deleted", object_type="resource", object_id=gone[0].pk, data=data
            )
    for sha256 in {row.sha256 for row in gone}:
        blobs.drop_unused(sha256)
    return len(found) == BATCH
