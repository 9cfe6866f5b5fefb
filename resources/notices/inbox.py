"""One person's notices: reading them, marking them read, and choosing what to be told of.

Whether somebody has read their own notices is theirs and changes nothing for others, so it is not audited; what they
chose not to be told is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from resources import audit
from resources.access import Actor
from resources.errors import BadInput, NotAllowed, NotFound
from resources.models import Notice, NoticeMute
from resources.notices.kinds import KINDS
from resources.paging import decode_cursor, encode_cursor

#: unread notices counted; above it stands "99+"
MOST_SHOWN = 99
#: notices of one person that are kept; older ones are forgotten
DAYS = 90


def _user(actor: Actor) -> Any:
    if actor.user is None:
        raise NotAllowed("Only people have notices.")
    return actor.user


def of(actor: Actor) -> QuerySet[Notice]:
    """Raises NotAllowed for what is no person."""
    return Notice.objects.filter(user=_user(actor))


def unread(actor: Actor) -> int:
    """Up to MOST_SHOWN and one more: a number nobody reads needs no counting."""
    return len(of(actor).filter(read_at=None).values_list("pk")[: MOST_SHOWN + 1])


def page(actor: Actor, *, only_unread: bool, cursor: str | None, limit: int) -> tuple[list[Notice], str | None]:
    """(newest first, the cursor of what is older). Raises BadInput for a cursor that is none."""
    rows = of(actor).filter(read_at=None) if only_unread else of(actor)
    if cursor:
        at, last = decode_cursor(cursor, float, int)
        rows = rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=last))
    found = list(rows.order_by("-at", "-pk")[: limit + 1])
    items = found[:limit]
    return items, encode_cursor(float(items[-1].at), items[-1].pk) if len(found) > limit else None


def mark_read(*, actor: Actor, notice_id: int, now: float) -> Notice:
    """Raises NotFound for one that is not there or somebody else's: the two look the same."""
    with transaction.atomic():
        row = of(actor).select_for_update().filter(pk=notice_id).first()
        if row is None:
            raise NotFound("There is no such notice of yours.")
        if row.read_at is None:
            row.read_at = now
            row.save(update_fields=["read_at"])
        return row


def mark_all_read(*, actor: Actor, up_to: float, now: float) -> int:
    """All that came until `up_to`: what came while somebody looked stays unread. How many they were."""
    with transaction.atomic():
        return of(actor).filter(read_at=None, at__lte=up_to).update(read_at=now)


def muted(actor: Actor) -> list[str]:
    return sorted(NoticeMute.objects.filter(user=_user(actor)).values_list("kind", flat=True))


def choose_muted(*, actor: Actor, kinds: Collection[str]) -> list[str]:
    """Exactly these are not told from now on. Raises BadInput for an unknown one."""
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise BadInput(f"There is no kind of notice {unknown[0]!r}; there are: {', '.join(KINDS)}.")
    user = _user(actor)
    with transaction.atomic():
        before = muted(actor)
        NoticeMute.objects.filter(user=user).exclude(kind__in=kinds).delete()
        rows = [NoticeMute(user=user, kind=kind) for kind in sorted(set(kinds))]
        NoticeMute.objects.bulk_create(rows, ignore_conflicts=True)
        after = muted(actor)
        if after != before:
            data = {"before": before, "after": after}
            audit.record(actor=actor, action="notices.muted", object_type="user", object_id=actor.name, data=data)
    return after
