"""A start of an input that is in quarantine. Asked only where the flow has any."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from flows.definition.canonical import digest
from resources.errors import Conflict
from runs.models import Quarantine


def refuse_quarantined(flow_id: int, value: Any) -> None:
    """One indexed lookup. Raises Conflict `quarantined`, which says why, and where it is released."""
    rows = Quarantine.objects.filter(flow_id=flow_id, digest=digest(value), released_at__isnull=True)
    row = rows.select_related("release").first()
    if row is None:
        return
    url = f"{settings.PUBLIC_URL}/quarantine/{row.pk}"
    release = row.release.version if row.release else None
    mended = f" A release other than {release} lets it go when it goes live." if release else ""
    raise Conflict(
        f"This input is in quarantine: {row.reason.rstrip('.')}.",
        code="quarantined",
        hint=f"Change the input, or have an operator release it: {url}.{mended}",
        details={
            "quarantine": row.pk, "reason": row.reason, "actor": row.actor, "run": row.run_id, "release": release,
            "url": url,
        },
    )  # fmt: skip
