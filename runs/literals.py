"""Resources that open runs need although no row of theirs names them: those that the text of their release names."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q

from flows.models import Release
from resources import holding
from runs.holding import OPEN
from runs.models import Run


def by_releases(ids: Collection[str]) -> dict[str, str]:
    """A finder of resources.holding."""
    needed = Run.objects.filter(Q(status__in=OPEN) | Q(dead_at__isnull=False)).values("release_id")
    rows = Release.objects.filter(pk__in=needed, source__contains=holding.PREFIX)
    wanted, found = set(ids), dict[str, str]()
    for source, slug, version in rows.values_list("source", "flow__slug", "version").iterator(chunk_size=50):
        found |= dict.fromkeys(wanted & holding.named(source), f"open runs of flow {slug} {version}")
    return found
