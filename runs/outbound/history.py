"""Finding a moment in the history."""

from __future__ import annotations

from typing import Final

from runs.models import RunEvent
from runs.outbound.horizon import last_id

#: ids below the found one from which reading starts: ids follow time only roughly, and one may be uncommitted yet
MARGIN: Final = 10_000


def id_before(at: float) -> int:
    """An id at or before which nothing happened at `at` (epoch seconds) or later. Some lookups by the primary key."""
    low, high = 0, last_id()
    while low < high:  # the first id whose entry is of `at` or later
        middle = (low + high) // 2
        found = RunEvent.objects.filter(id__gt=middle, id__lte=high).order_by("id").values_list("id", "at").first()
        if found is None or found[1] >= at:
            high = middle
        else:
            low = found[0]
    return max(0, low - MARGIN)
