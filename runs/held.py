"""What holds steps back right now, for people: read from the queue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runs import clock
from runs.jobs import listing
from runs.models import Work


@dataclass(frozen=True, slots=True)
class HeldBack:
    """`by`: the limit; `until`: epoch seconds, or None where nobody knows; `items`: of a fan-out, how many."""

    by: str
    until: float | None
    items: int


def held_back(run_ids: Collection[str]) -> dict[str, dict[str, HeldBack]]:
    """{run: {step: what holds it}}, in one query."""
    rows = Work.objects.filter(run_id__in=run_ids, kind=Work.Kind.STEP, owner__isnull=True).exclude(held_by="")
    found: dict[str, dict[str, HeldBack]] = {}
    columns = ("run_id", "step", "item", "held_by", "wake_at")
    for run_id, step, item, by, until in rows.order_by("item").values_list(*columns):
        steps = found.setdefault(run_id, {})
        known = steps.get(step)
        times = [t for t in (until, known.until if known else None) if t is not None]
        items = (known.items if known else 0) + (item >= 0)
        steps[step] = HeldBack(known.by if known else by, min(times, default=None), items)
    for job, said in listing.held(run_ids, clock.now()):
        steps = found.setdefault(job.run_id, {})
        known = steps.get(job.step)
        steps[job.step] = HeldBack(said, None, (known.items if known else 0) + (job.item >= 0))
    return found
