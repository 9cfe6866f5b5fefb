"""What came of a due time is kept for 90 days. Its start's idempotency key has a life of its own."""

from __future__ import annotations

from typing import Final

from runs.schedules.models import ScheduledTime

KEPT: Final = 90 * 86400.0
EVERY: Final = 3600.0
BATCH: Final = 1000


class Pruning:
    """A duty of the keeper, at work once an hour however often it is asked."""

    def __init__(self) -> None:
        self.due = 0.0

    def turn(self, now: float) -> float:
        if now >= self.due:
            self.due = now + (1.0 if prune(now) == BATCH else EVERY)
        return self.due


def prune(now: float) -> int:
    """Delete a batch of what is old and neither waits nor runs; gives how many."""
    old = ScheduledTime.objects.filter(at__lt=now - KEPT, open=False).exclude(state=ScheduledTime.State.WAITING)
    batch = list(old.order_by("at").values_list("pk", flat=True)[:BATCH])
    ScheduledTime.objects.filter(pk__in=batch).delete()
    return len(batch)
