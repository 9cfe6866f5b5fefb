"""The product's own notices: what stopped by itself or will, told once to those who can mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db import transaction

from resources import secrets
from resources.limits.book import OPEN
from resources.limits.ledger import book_of
from resources.models import ConnectionLimit, Role
from resources.notices import people
from resources.notices.audience import holders
from resources.notices.looking import Looks
from runs.models import Quarantine, Run
from runs.schedules.book import ITSELF
from runs.schedules.models import Schedule

_HOUR: Final = 3600.0
_MOST: Final = 500  # rows of one kind in one look


@dataclass(frozen=True, slots=True)
class Told:
    """`key`: once for each; `role` on `folder`: who is told, but not `knows`, who is told in another way."""

    key: str
    kind: str
    role: Role
    folder: str
    title: str
    text: str
    url: str
    knows: int | None = None


class Duty(Looks):
    def __init__(self) -> None:
        super().__init__()
        self.aged = float("-inf")

    def look(self, since: float, now: float) -> None:
        sources: list[Callable[[float], Iterator[Told]]] = [_dead, _schedules, _quarantine, _circuits]
        found = {told.key: told for source in sources for told in source(since)}
        if not self.aged <= now < self.aged + _HOUR:
            found |= {told.key: told for told in _secrets(now)}
        if found:
            _tell(list(found.values()), now)
        self.aged = self.aged if self.aged <= now < self.aged + _HOUR else now


def _tell(found: list[Told], now: float) -> None:
    known: dict[tuple[Role, str], set[int]] = {}
    with transaction.atomic():
        for told in found:
            place = (told.role, told.folder)
            if place not in known:
                known[place] = holders(*place)
            ids = known[place] - {told.knows or 0}
            people.tell(
                ids, key=told.key, kind=told.kind, title=told.title, text=told.text,
                url=told.url, now=now,
            )  # fmt: skip


def _dead(since: float) -> Iterator[Told]:
    """Once an hour and flow. Who started the run is told of it as theirs."""
    rows = Run.objects.filter(dead_at__gt=since).select_related("flow")
    slim = rows.only("pk", "dead_at", "starter_id", "error_class", "flow__slug", "flow__title", "flow__folder")
    for run in slim.order_by("-dead_at")[:_MOST]:  # of one hour, the first is told
        flow, hour = run.flow, int((run.dead_at or 0.0) // _HOUR)
        title = f"A run of {flow.title or flow.slug} gave up"
        text = "Others of this flow may have, too: see Dead letters."
        key = f"dead_letter:{flow.slug}:{hour}"
        yield Told(key, "dead_letter", Role.OPERATOR, flow.folder, title, text, f"/runs/{run.pk}", run.starter_id)


def _schedules(since: float) -> Iterator[Told]:
    rows = Schedule.objects.filter(paused_at__gt=since, paused_by=ITSELF).select_related("flow")[:_MOST]
    for row in rows:
        flow, url = row.flow, f"/flows/{row.flow.slug}/schedules/{row.name}"
        key = f"schedule_paused:{row.pk}:{row.paused_at}"
        title = f"The schedule {row.name} of {flow.title or flow.slug} paused itself"
        yield Told(key, "schedule_paused", Role.OPERATOR, flow.folder, title, people.plain(row.paused_note), url)


def _quarantine(since: float) -> Iterator[Told]:
    """Those that people put there are known to them."""
    rows = Quarantine.objects.filter(at__gt=since, released_at=None, actor="keeper").select_related("flow")[:_MOST]
    for row in rows:
        flow = row.flow
        title = f"An input of {flow.title or flow.slug} is refused from now on"
        key, text = f"quarantined:{row.pk}", people.plain(row.reason)
        yield Told(key, "quarantined", Role.OPERATOR, flow.folder, title, text, f"/quarantine/{row.pk}")


def _circuits(since: float) -> Iterator[Told]:
    """Once an hour and connection, however often it opens and closes. Those that people opened are known to them."""
    for row in ConnectionLimit.objects.select_related("connection"):
        book = book_of(row.book)
        if book.breaker == OPEN and not book.by and book.opened_at is not None and book.opened_at > since:
            name, hour = row.connection.name, int(book.opened_at // _HOUR)
            title = f"The circuit breaker of the connection {name} opened"
            text = "Too many of its attempts failed. It lets some through after a while and closes when they succeed."
            yield Told(f"circuit:{row.connection_id}:{hour}", "circuit", Role.ADMIN, "", title, text, "/connections")


def _secrets(now: float) -> Iterator[Told]:
    for secret, age in secrets.ages(datetime.fromtimestamp(now, UTC)):
        if age.state in ("due", "overdue"):
            title = f"The secret {secret.name} is {'too old' if age.state == 'overdue' else 'soon too old'}"
            key = f"secret_due:{secret.name}:{int(secret.rotated_at.timestamp())}:{age.state}"
            yield Told(key, "secret_due", Role.ADMIN, "", title, "Set a new value.", "/secrets")
