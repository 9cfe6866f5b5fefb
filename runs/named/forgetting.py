"""The keeper's duty: events whose time is over go, with the notes of who used them."""

from __future__ import annotations

from typing import Final

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from runs.named.models import EventUse, NamedEvent

#: seconds an event is kept where no flow asks for more
KEPT: Final = 86_400.0
BATCH: Final = 500
#: seconds between two looks while nothing is left to do
PAUSE: Final = 300.0


def turn(now: float) -> float:
    return now if forget(now) == BATCH else now + PAUSE


@transaction.atomic
def forget(now: float) -> int:
    """At most BATCH events; gives how many."""
    old = NamedEvent.objects.filter(received_at__lt=now - KEPT).filter(
        received_at__lt=now - Greatest(F("name__keep"), KEPT)
    )
    found = list(old.order_by("received_at").values_list("pk", flat=True)[:BATCH])
    EventUse.objects.filter(event_id__in=found).delete()
    NamedEvent.objects.filter(pk__in=found).delete()
    return len(found)
