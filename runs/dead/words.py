"""The text filter of dead letters. It looks at errors as they are shown: what a mark hides cannot be tried out."""

from __future__ import annotations

from typing import Final

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from resources.fields import dumps
from resources.payloads import BOUND
from runs.models import Run
from runs.sensitive.rows import of_runs
from runs.sensitive.shapes import of_release

#: runs with something to hide whose errors are looked at one by one, the latest; of older ones only the class is known
MOST: Final = 500


def matching(rows: QuerySet[Run], text: str) -> QuerySet[Run]:
    """Those whose id, flow or error, as everybody reads it, has the text."""
    rows = rows.annotate(error_text=Cast("error", TextField()))
    named = Q(id__startswith=text.lower()) | Q(flow__slug__icontains=text) | Q(flow__title__icontains=text)
    # of a sealed error its class is what can be read
    by_error = Q(error_text__icontains=text) & ~Q(error_text__startswith=BOUND)
    return rows.filter(named | Q(error_class__icontains=text) | by_error & _shown(rows.filter(by_error), text))


def _shown(found: QuerySet[Run], text: str) -> Q:
    """Which of `found` have the text in what is shown of their error."""
    releases = found.order_by().values_list("release_id", "release__checksum").distinct()
    open_ = [pk for pk, checksum in releases if not _hides(pk, checksum)]
    plain = Q(release_id__in=open_, parent=None)
    looked_at = found.exclude(plain).select_related("release").defer("release__source", "release__plan_json")
    runs = list(looked_at.order_by("-dead_at", "-pk")[:MOST])
    veils = of_runs(runs)
    return plain | Q(pk__in=[run.pk for run in runs if text.lower() in dumps(veils[run.pk].tree(run.error)).lower()])


def _hides(release: int, checksum: str) -> bool:
    """Might an error of its runs hold what is sensitive, in them or in runs that they call?"""
    shapes = of_release(release, checksum)
    return shapes.marked or shapes.calls
