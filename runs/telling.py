"""People are told of runs they started that gave up: once an hour and flow, however many gave up."""

from __future__ import annotations

from django.db import transaction

from resources.notices import people
from resources.notices.looking import Looks
from runs.models import Run

_HOUR = 3600.0
_MOST = 500  # runs of one look


class Duty(Looks):
    def look(self, since: float, now: float) -> None:
        rows = Run.objects.filter(dead_at__gt=since, starter__isnull=False).select_related("flow")
        slim = rows.only("pk", "dead_at", "starter_id", "flow__slug", "flow__title").order_by("dead_at")
        if found := list(slim[:_MOST]):
            with transaction.atomic():
                for run in found:
                    _tell(run, now)


def _tell(run: Run, now: float) -> None:
    hour = int((run.dead_at or now) // _HOUR)
    people.tell(
        [run.starter_id] if run.starter_id is not None else [],
        key=f"run_failed:{run.flow.slug}:{hour}",
        kind="run_failed",
        title=f"A run of {run.flow.title or run.flow.slug} that you started gave up"[:300],
        text="Others of this flow may have, too: see Dead letters.",
        url=f"/runs/{run.pk}",
        now=now,
    )
