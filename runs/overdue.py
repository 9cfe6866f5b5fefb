"""The deadline of runs whose flow sets none: 30 days. The keeper looks for old ones now and then."""

from __future__ import annotations

from typing import Final

from django.db.models import F
from django.db.models.functions import Coalesce

from flows.definition.plan import DEFAULT_DEADLINE
from runs import bell, store, waits
from runs.engine.state import NO_ITEM
from runs.engine.timing import DEADLINE
from runs.models import ENDED, Run, RunStatus, Work

#: seconds between two looks; a deadline of 30 days may be that late
EVERY: Final = 300.0
_OPEN: Final = [status for status in RunStatus.values if status not in ENDED]


def tell(now: float) -> float:
    """A duty of the keeper: each run older than the default deadline gets a timer that is due. Gives the next look."""
    before = now - DEFAULT_DEADLINE
    began = Coalesce(F("started_at"), F("created_at"))
    old = Run.objects.filter(status__in=_OPEN, created_at__lt=before).annotate(began=began).filter(began__lt=before)
    told = 0
    for run in old.only("pk", "release_id", "control").iterator(chunk_size=500):
        since = (run.control.get("times") or {}).get("since", 0.0)
        plan = store.plan_of(run.release_id)
        if since >= before or plan.deadline is not None:
            continue  # it was reopened since, or has a timer of its own
        if not Work.objects.filter(run_id=run.pk, step="", kind=Work.Kind.TIMER, name=DEADLINE).exists():
            held = run.control.get("paused") is not None
            waits.wake(plan, run.pk, "", NO_ITEM, now, kind=Work.Kind.TIMER, name=DEADLINE, held=held)
            told += 1
    if told:
        bell.ring(bell.WORK)
    return now + EVERY
