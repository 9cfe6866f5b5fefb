"""The list of resources: who sees which, and the filters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, StrIndex

from resources.access import Actor, folder_filter
from resources.errors import BadInput
from resources.fields import dumps
from resources.models import Artifact
from resources.paging import Page, decode_cursor, encode_cursor


def of_media(media: str) -> Q:
    """With or without parameters, such as a charset."""
    return Q(content_type=media) | Q(content_type__startswith=f"{media};")


#: what people call types -> what begins or is one
TYPES: Final = {
    "json": of_media("application/json"),
    "text": Q(content_type__startswith="text/") & ~of_media("text/csv"),
    "table": of_media("text/csv"),
    "image": Q(content_type__startswith="image/"),
}
TYPES["other"] = ~(TYPES["json"] | Q(content_type__startswith="text/") | TYPES["image"])


@dataclass(frozen=True, slots=True)
class Asked:
    """`type`: of TYPES, or a media type. `origin`: run, upload, or a run's id. `label`: name=text. Times: epoch s."""

    type: str = ""
    origin: str = ""
    label: str = ""
    q: str = ""
    since: float | None = None
    before: float | None = None


def visible(actor: Actor) -> QuerySet[Artifact]:
    return Artifact.objects.filter(folder_filter(actor, "viewer"), condemned_at__isnull=True)


def filtered(rows: QuerySet[Artifact], asked: Asked) -> QuerySet[Artifact]:
    """Raises BadInput."""
    if asked.type:
        rows = rows.filter(TYPES.get(asked.type) or of_media(asked.type))
    if asked.origin in ("run", "upload"):
        rows = rows.exclude(run_id="") if asked.origin == "run" else rows.filter(run_id="")
    elif asked.origin:
        rows = rows.filter(run_id=asked.origin)
    if asked.label:
        name, equals, text = asked.label.partition("=")
        if not equals:
            message = "Ask for a label as name=text."
            raise BadInput(message, details=[{"path": "label", "message": message}])
        # exact: in compact JSON these characters are nowhere but at this pair
        pair = dumps({name: text})[1:-1]
        rows = rows.annotate(at=StrIndex(Cast("labels", TextField()), Value(pair))).filter(at__gt=0)
    if asked.q:
        rows = rows.filter(Q(name__icontains=asked.q) | Q(pk=asked.q.removeprefix("res://")))
    if asked.since is not None:
        rows = rows.filter(created_at__gte=_time(asked.since))
    return rows if asked.before is None else rows.filter(created_at__lt=_time(asked.before))


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def page(rows: QuerySet[Artifact], *, cursor: str | None, limit: int) -> Page[Artifact]:
    """The newest first: ids begin with their time. Raises BadInput."""
    if cursor:
        rows = rows.filter(pk__lt=decode_cursor(cursor, str)[0])
    found = list(rows.order_by("-pk")[: limit + 1])
    more = len(found) > limit
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if more else None)
