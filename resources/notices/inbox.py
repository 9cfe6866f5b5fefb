"""One person's notices: reading them, marking them read, and choosing what to be told of.

Whether somebody has read their own notices is theirs and changes nothing for others, so it is not audited; what they
chose not to be told is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from resources import audit
from resources.access import Actor
from resources.errors import BadInput, NotAllowed, NotFound
from resources.models import Notice, NoticeMute
from resources.notices import mailing
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


@dataclass(frozen=True, slots=True)
class Chosen:
    """Kinds not told at all, and kinds told by e-mail, too; the others are in the product."""

    muted: tuple[str, ...] = ()
    mailed: tuple[str, ...] = ()


def chosen(actor: Actor) -> Chosen:
    rows = dict(NoticeMute.objects.filter(user=_user(actor)).order_by("kind").values_list("kind", "how"))
    how = NoticeMute.How
    return Chosen(*(tuple(kind for kind, is_so in rows.items() if is_so == one) for one in (how.NONE, how.EMAIL)))


def why_no_mail(actor: Actor) -> str:
    """Why none can be sent to them; "": it can."""
    if mailing.connection() is None:
        return "No e-mail of notices goes out from here; an admin can name a connection for it (NOTICE_CONNECTION)."
    return "" if _user(actor).email else "Your account has no e-mail address."


def choose(*, actor: Actor, muted: Collection[str], mailed: Collection[str]) -> Chosen:
    """From now on. Raises BadInput for an unknown kind, one that is in both, and where no e-mail can be sent."""
    user = _user(actor)
    if unknown := sorted({*muted, *mailed} - set(KINDS)):
        raise BadInput(f"There is no kind of notice {unknown[0]!r}; there are: {', '.join(KINDS)}.")
    if both := sorted(set(muted) & set(mailed)):
        raise BadInput(f"{both[0]!r} cannot be turned off and come by e-mail.")
    before = chosen(actor)
    if set(mailed) - set(before.mailed) and (why := why_no_mail(actor)):
        raise BadInput(why)
    with transaction.atomic():
        rows = NoticeMute.objects.filter(user=user)
        rows.delete()
        NoticeMute.objects.bulk_create(
            [NoticeMute(user=user, kind=kind, how=NoticeMute.How.NONE) for kind in sorted(set(muted))]
            + [NoticeMute(user=user, kind=kind, how=NoticeMute.How.EMAIL) for kind in sorted(set(mailed))],
            ignore_conflicts=True,
        )
        after = chosen(actor)
        if after != before:
            data = {"before": _words(before), "after": _words(after)}
            audit.record(actor=actor, action="notices.chosen", object_type="user", object_id=actor.name, data=data)
    return after


def _words(one: Chosen) -> dict[str, list[str]]:
    return {"muted": list(one.muted), "mailed": list(one.mailed)}
