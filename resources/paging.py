"""Cursor pages: opaque, and stable while rows come and go, because they name a place and no offset."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet

from resources.errors import BadInput

Row = TypeVar("Row", bound=Model)
DEFAULT_LIMIT = 50
MAX_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    items: list[Row]
    next_cursor: str | None


def encode_cursor(*place: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """The place a cursor names. Raises BadInput `bad_cursor` for one we never gave out."""
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        place = None
    texts = "".join(v for v in place if isinstance(v, str)) if isinstance(place, list) else ""
    storable = not any(
        c == "\0" or "\ud800" <= c <= "\udfff" for c in texts
    )  # JSON has them, no database looks for them
    if not isinstance(place, list) or [type(v) for v in place] != list(types) or not storable:
        raise BadInput("The cursor is not one we gave out.", code="bad_cursor", hint="Start again without a cursor.")
    return tuple(place)


def newest_first(rows: QuerySet[Row], *, cursor: str | None, limit: int) -> Page[Row]:
    """A page by `created_at` (float) and `id` (text), both descending; reads one row more than it gives."""
    if cursor:
        at, last = decode_cursor(cursor, float, str)
        rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=last))
    found: list[Any] = list(rows.order_by("-created_at", "-id")[: limit + 1])
    items, more = found[:limit], len(found) > limit
    return Page(items, encode_cursor(float(items[-1].created_at), items[-1].pk) if more else None)
