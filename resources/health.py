"""How connections fare: the last test, the last use, the last failure. Cheap: a process writes about once a minute.

Written in a statement of its own, never in the transaction of what a run does; a note that gets lost is no harm.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from django.db import DatabaseError

from resources.models import ConnectionHealth

logger = logging.getLogger(__name__)
#: seconds between two notes of one process about one connection and the same thing
EVERY: Final = 60.0
_MAX_NOTED: Final = 10_000

_noted: dict[tuple[int, str], float] = {}
_lock = threading.Lock()


def note_use(connection_id: int, now: float, failure: str = "") -> None:
    """An attempt used it at `now` (epoch seconds); `failure`: what went wrong on its side, masked, or "".

    Call it outside transactions. Never raises for a database that is busy.
    """
    found: dict[str, Any] = {}
    if failure and _is_due(connection_id, "failed", now):
        found = {"used_at": now, "failed_at": now, "failure": failure.replace("\0", "")[:500]}
        _forget(connection_id, "used")  # so that its recovery is noted at once
    elif not failure and _is_due(connection_id, "used", now):
        found = {"used_at": now}
    if found:
        try:
            _write(connection_id, found)
        except DatabaseError as error:
            logger.warning("the use of connection %s was not noted: %s", connection_id, error)


def note_test(connection_id: int, now: float, *, ok: bool, message: str) -> None:
    """What a test came to."""
    text = message.replace("\0", "")[:1000]
    _write(connection_id, {"tested_at": now, "test_ok": ok, "test_message": text})


def forget_notes() -> None:
    """The next note is written whenever the last was. For tests."""
    with _lock:
        _noted.clear()


def _is_due(connection_id: int, what: str, now: float) -> bool:
    with _lock:
        if abs(now - _noted.get((connection_id, what), float("-inf"))) < EVERY:
            return False
        if len(_noted) >= _MAX_NOTED:
            _noted.clear()
        _noted[connection_id, what] = now
        return True


def _forget(connection_id: int, what: str) -> None:
    with _lock:
        _noted.pop((connection_id, what), None)


def _write(connection_id: int, found: dict[str, Any]) -> None:
    row = ConnectionHealth(connection_id=connection_id, **found)
    ConnectionHealth.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["connection"], update_fields=list(found)
    )


def summary(row: ConnectionHealth | None) -> tuple[str, str]:
    """(state for a badge, words): what is known, the worst of it first. Pure."""
    if row is None:
        return "queued", "Not used yet"
    if row.test_ok is False and (row.tested_at or 0) >= (row.used_at or 0):
        return "failed", "Test failed"
    if row.failed_at is not None and row.failed_at >= max(row.used_at or 0, row.tested_at or 0):
        return "failed", "Last use failed"
    if row.used_at is not None or row.test_ok:
        return "succeeded", "Works"
    return "queued", "Not used yet"


def facts(row: ConnectionHealth | None) -> dict[str, Any]:
    """For pages and API: tested_at, test_ok, test_message, used_at, failed_at, failure; None where not known."""
    row = row or ConnectionHealth()
    names = ("tested_at", "test_ok", "test_message", "used_at", "failed_at", "failure")
    return {name: getattr(row, name) for name in names} | {"state": summary(row)[1]}
