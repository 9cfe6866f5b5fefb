"""Messages that wait to go out as one: joined by steps, claimed and ended by whoever sends.

A digest is open until its window ends; whoever claims it closes it, so that what comes later opens the next. Nobody
may have got it until `hand_over` says so: before, a sender that is lost loses nothing, and afterwards it may have gone
out, and is sent again only where that was asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db import IntegrityError, transaction

from resources.models import NoticeDelivery, NoticeDigest
from resources.not_sent import NotSent
from resources.notices.deliveries import Sender

Json = Any
#: something is due, for the keeper's one question
WHEN: Final = "EXISTS (SELECT 1 FROM resources_noticedigest WHERE status IN ('open', 'sending') AND due_at <= %(now)s)"
#: seconds a sender has before another may take it for lost
LEASE: Final = 120.0
#: seconds after which a digest that nobody takes is given up
GIVE_UP: Final = 3 * 86_400.0
_FIRST, _LONGEST = 15.0, 900.0  # seconds to the next try
_ROUNDS: Final = 5
_OPEN, _SENDING = NoticeDigest.Status.OPEN, NoticeDigest.Status.SENDING


class Lost(Exception):
    """Another sender has taken it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What goes out as one: the same of all of these. `space`: a flow, and whether it is a test; keys are its own."""

    space: str
    key: str
    connection: str
    kind: str
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    repeat: bool = False

    @property
    def identity(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    text: str
    recipients: int


def join(
    sender: Sender, wanted: Wanted, message: Message, *, channel: str, within: float, most: int, now: float
) -> str:
    """The message waits in the open digest, or opens one that ends `within` seconds from now and lists `most`.

    Gives what became of it, which an earlier attempt may have done: waiting, sending, sent or unknown. Raises NotSent.
    """
    with transaction.atomic():
        mine = NoticeDelivery.objects.filter(key=sender.key, channel=channel)
        before = mine.values_list("status", flat=True).first()
        if before is not None and before != "failed":
            return before
        digest = _open(wanted, now + within, most, now)
        said = {"status": "waiting", "digest": digest, "title": message.title[:300], "text": message.text, "at": now}
        if before is None:
            NoticeDelivery.objects.create(
                key=sender.key, channel=channel, kind=wanted.kind, run_id=sender.run_id, step=sender.step,
                item=sender.item, recipients=message.recipients, **said,
            )  # fmt: skip
        else:
            mine.update(**said, error="")
        digest.count += 1
        digest.save(update_fields=["count"])
        return "waiting"


def _open(wanted: Wanted, due_at: float, most: int, now: float) -> NoticeDigest:
    """The open digest, its row locked. It may be claimed between being made and being locked; then there is another."""
    for _ in range(_ROUNDS):
        rows = NoticeDigest.objects.select_for_update().filter(identity=wanted.identity, status=_OPEN)
        if (row := rows.first()) is not None:
            return row
        made = NoticeDigest(
            identity=wanted.identity, connection=wanted.connection, kind=wanted.kind, key=wanted.key[:200],
            to=list(wanted.to), cc=list(wanted.cc), repeat=wanted.repeat, most=most, status=_OPEN, opened_at=now,
            due_at=due_at,
        )  # fmt: skip
        NoticeDigest.objects.bulk_create([made], ignore_conflicts=True)
    raise NotSent("internal", "Too many messages came for one digest at once.", again=True)


def claim(now: float) -> NoticeDigest | None:
    """One that is due, for LEASE seconds. What a lost sender may have sent is unknown from now on, unless repeated."""
    while True:
        with transaction.atomic():
            due = NoticeDigest.objects.select_for_update(skip_locked=True).filter(status__in=(_OPEN, _SENDING))
            row = due.filter(due_at__lte=now).order_by("due_at").first()
            if row is None:
                return None
            if row.status == _SENDING and row.handed and not row.repeat:
                said = "Its sender was lost after it had handed the message over: whether it was sent is unknown."
                _end(row, "unknown", now, error=said)
                continue
            row.status, row.handed, row.fence, row.due_at = _SENDING, False, row.fence + 1, now + LEASE
            row.save(update_fields=["status", "handed", "fence", "due_at"])
            return row


def parts(row: NoticeDigest) -> list[NoticeDelivery]:
    """The messages that are listed, the oldest first."""
    return list(NoticeDelivery.objects.filter(digest=row).order_by("pk")[: row.most])


def hand_over(row: NoticeDigest) -> None:
    """From now on somebody may have it. Raises Lost."""
    mine = NoticeDigest.objects.filter(pk=row.pk, fence=row.fence, status=_SENDING)
    if not mine.update(handed=True):
        raise Lost


def end(
    row: NoticeDigest, status: str, now: float, *, error: str = "", message_id: str = "", refused: Iterable[Json] = ()
) -> None:
    """It went out, failed for good, or may have gone out: said of each message in it. Raises Lost."""
    with transaction.atomic():
        _end(_mine(row), status, now, error=error, message_id=message_id, refused=refused)


def _mine(row: NoticeDigest) -> NoticeDigest:
    found = NoticeDigest.objects.select_for_update().filter(pk=row.pk, fence=row.fence, status=_SENDING).first()
    if found is None:
        raise Lost
    return found


def _end(
    row: NoticeDigest, status: str, now: float, *, error: str = "", message_id: str = "", refused: Iterable[Json] = ()
) -> None:
    row.status, row.ended_at, row.error, row.message_id = status, now, error[:500], message_id
    row.save(update_fields=["status", "ended_at", "error", "message_id"])
    NoticeDelivery.objects.filter(digest=row).update(
        status=status, at=now, error=error[:500], message_id=message_id, refused=list(refused)[:20], text=""
    )


def later(row: NoticeDigest, now: float, *, error: str, tried: bool = True) -> None:
    """Nobody got it, and another try may help: it is open again, with what came since. Raises Lost.

    `tried` false: it was only held back, which counts as no try.
    """
    if now - row.opened_at > GIVE_UP:
        return end(row, "failed", now, error=f"{error} Given up after {GIVE_UP / 86_400:.0f} days.")
    for last in (False, True):
        try:
            with transaction.atomic():
                return _reopen(row, now, error, tried)
        except IntegrityError:  # the next one was opened at this very moment
            if last:
                raise
    return None


def _reopen(row: NoticeDigest, now: float, error: str, tried: bool) -> None:
    next_one = NoticeDigest.objects.filter(identity=row.identity, status=_OPEN).values_list("pk", flat=True).first()
    ids = sorted(pk for pk in (row.pk, next_one) if pk is not None)
    locked = {one.pk: one for one in NoticeDigest.objects.select_for_update().filter(pk__in=ids).order_by("pk")}
    mine, other = locked.get(row.pk), locked.get(next_one) if next_one is not None else None
    if mine is None or mine.fence != row.fence or mine.status != _SENDING:
        raise Lost
    tries = mine.tries + tried
    due = now + min(_FIRST * 2 ** min(max(tries - 1, 0), 10), _LONGEST)
    NoticeDelivery.objects.filter(digest=mine).update(error=error[:500])
    into = other if other is not None and other.status == _OPEN else mine
    if into is not mine:
        NoticeDelivery.objects.filter(digest=mine).update(digest=into)
        into.count, into.opened_at = into.count + mine.count, mine.opened_at
        mine.delete()
    into.status, into.handed, into.tries, into.due_at, into.error = _OPEN, False, tries, due, error[:500]
    into.save(update_fields=["status", "handed", "tries", "due_at", "error", "count", "opened_at"])
