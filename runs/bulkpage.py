"""What one control would do to all runs that match a filter: looked at before it is done."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from resources.access import Actor
from runs import bulk, filters
from runs.filters import Asked
from runs.models import Run
from runs.pages import CONTROLS

#: refused runs that are named
NAMED: Final = 100


def preview(actor: Actor, control: str, reason: str, asked: Asked, now: float) -> dict[str, Any]:
    """View dict of the page. Raises BadInput `bad_control`."""
    ids, total = filters.matching(actor, asked, now, bulk.MAX_RUNS)
    found = bulk.control_runs(actor=actor, control=control, ids=ids, dry_run=True)
    refused = [result for result in found if not result.done]
    runs = Run.objects.select_related("flow").only("status", "flow__slug").in_bulk([r.run for r in refused[:NAMED]])
    return {
        "control": control,
        "verb": dict(CONTROLS)[control],
        "reason": reason,
        "asked": asked,
        "would": len(found) - len(refused),
        "looked": len(found),
        "total": total,
        "why": Counter(result.message for result in refused).most_common(),
        "refused": [(result, runs.get(result.run)) for result in refused[:NAMED]],
        "more": max(0, len(refused) - NAMED),
        "back": asked.link(),
    }
