"""The limits of a connection as people and programs see them: what is set, what is used, who waits. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db.models import Count, Q

from resources import health, usage
from resources.connections import address_of, secrets_in
from resources.errors import NotFound
from resources.kinds import KINDS
from resources.limits.book import CLOSED, Book, most, tick, totals
from resources.limits.config import NO_LIMITS, Limits
from resources.limits.ledger import book_of, limits_of
from resources.models import Connection, Permit

#: permits listed, of those taken and of those waiting
ROWS: Final = 50

_COUNTS: Final = {
    "in_use": Count("permits", filter=Q(permits__taken_at__isnull=False)),
    "promised": Count("permits", filter=Q(permits__taken_at__isnull=True, permits__due__isnull=False)),
    "waiting": Count("permits", filter=Q(permits__taken_at__isnull=True, permits__due__isnull=True)),
}


def of_connection(name: str, now: float, *, rows: bool) -> dict[str, Any]:
    """Everything about one connection's limits; times are epoch seconds. `rows`: also which steps. Raises NotFound."""
    connection = Connection.objects.select_related("limit").annotate(**_COUNTS).filter(name=name).first()
    if connection is None:
        raise NotFound(f"There is no connection {name}.", hint="Add it under Connections.", code="connection_not_found")
    limits, book = _state(connection, now)
    counts: Any = connection
    return {
        "connection": name,
        "limits": None if limits == NO_LIMITS else limits.model_dump(mode="json"),
        "limited": limits != NO_LIMITS or book.breaker != CLOSED,
        "in_use": counts.in_use,
        "promised": counts.promised,
        "waiting": counts.waiting,
        "concurrency": most(limits, book),
        "tokens": round(book.tokens, 3) if limits.rate is not None else None,
        "breaker": _breaker(limits, book, now),
        "shut_until": book.shut_until if book.shut_until > now else None,
        "latency": book.latency,
        "admitted": book.admitted,
        "throttled": book.throttled,
        "using": _rows(connection.pk, taken_at__isnull=False) if rows else [],
        "held": _why_now(_rows(connection.pk, taken_at__isnull=True), name, book) if rows else [],
    }


def _state(connection: Connection, now: float) -> tuple[Limits, Book]:
    limits = limits_of(connection)
    stored = connection.limit.book if hasattr(connection, "limit") else {}
    return limits, tick(limits, book_of(stored), now)


def _breaker(limits: Limits, book: Book, now: float) -> dict[str, Any]:
    ok, failed = totals(limits.breaker, book, now) if limits.breaker is not None else (0, 0)
    return {
        "state": book.breaker,
        "opened_at": book.opened_at,
        "probe_at": book.probe_at,
        "by": book.by,
        "reason": book.reason,
        "failed": failed,
        "succeeded": ok,
        "opened": book.opened,
    }


def _rows(connection_id: int, **which: Any) -> list[dict[str, Any]]:
    found = Permit.objects.filter(connection_id=connection_id, **which).order_by("since", "pk")[:ROWS]
    return [
        {
            "run": p.run_id,
            "step": p.step,
            "item": None if p.item < 0 else p.item,
            "since": p.since if p.taken_at is None else p.taken_at,
            "due": p.due,
            "attempt": p.attempt or None,
            "probe": p.probe,
            "why": p.why,
        }
        for p in found
    ]


def _why_now(held: list[dict[str, Any]], name: str, book: Book) -> list[dict[str, Any]]:
    """What something else held before the circuit opened waits for the circuit by now."""
    if book.breaker == CLOSED:
        return held
    why = f"connection {name}: circuit {book.breaker.replace('_', '-')}"
    return [row if row["probe"] else row | {"why": why, "due": None} for row in held]


def listed(now: float) -> Iterable[Connection]:
    """All connections by name, each with `.badges`: [(tone, words)] where something holds steps back; and with
    `.kind_title`, `.icon`, `.address`, `.secrets` (the names of those it sends), `.used_by` (how many), `.used_at`
    and how it fares: `.state`, `.state_words`. A fixed number of queries."""
    found = list(Connection.objects.select_related("limit", "health").annotate(**_COUNTS).order_by("name"))
    used = usage.counts_of("connection")
    for connection in found:
        limits, book = _state(connection, now)
        connection.badges = _badges(connection, limits, book, now)  # type: ignore[attr-defined]
        _describe(connection)
        connection.used_by = used[connection.name]  # type: ignore[attr-defined]
    return found


def _describe(connection: Any) -> None:
    kind = KINDS.get(connection.kind)
    connection.kind_title, connection.icon = (kind.title, kind.icon) if kind else (connection.kind, "plug")
    connection.address = address_of(connection.settings)
    row = getattr(connection, "health", None)
    connection.state, connection.state_words = health.summary(row)
    connection.used_at = row.used_at if row is not None else None
    connection.secrets = sorted(secrets_in(connection.kind, connection.settings))


def _badges(connection: Any, limits: Limits, book: Book, now: float) -> list[tuple[str, str]]:
    badges = []
    if book.breaker != CLOSED:
        badges.append(("failed", "Circuit open" if book.breaker == "open" else "Circuit half-open"))
    if book.shut_until > now:
        badges.append(("waiting", "Told to wait"))
    limit = most(limits, book)
    if limit is not None:
        badges.append(("running" if connection.in_use else "queued", f"{connection.in_use} of {limit} in use"))
    elif limits.rate is not None:
        badges.append(("running" if connection.in_use else "queued", f"{limits.rate.count} a {limits.rate.per}"))
    elif limits != NO_LIMITS and book.breaker == CLOSED:
        badges.append(("succeeded", "Circuit closed"))
    held = connection.waiting + connection.promised
    return [*badges, ("waiting", f"{held} held")] if held else badges
