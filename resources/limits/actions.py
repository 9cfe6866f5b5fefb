"""What people change about a connection's limits. Admins only; each change is audited."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from resources import audit, connections
from resources.access import Actor, require
from resources.errors import BadInput
from resources.limits import ledger
from resources.limits.book import OPEN, close, open_by_hand
from resources.models import Connection, Role
from resources.signals import limits_changed

MAX_REASON = 500


@transaction.atomic
def set_limits(*, actor: Actor, name: str, limits: Mapping[str, Any] | None) -> Connection:
    """Replace the limits; None takes them away. Those who wait go on as the new ones say.

    Raises NotAllowed, NotFound, BadInput with paths below `limits`.
    """
    require(actor, Role.ADMIN)
    row = connections.locked(name)
    return connections.update_connection(actor=actor, name=name, settings={**row.settings, "limits": limits})


@transaction.atomic
def switch_circuit(*, actor: Actor, name: str, opened: bool, reason: str, now: float | None = None) -> None:
    """Open the breaker until a person closes it, or close it. Switching to what it is changes nothing.

    Raises NotAllowed, NotFound, BadInput.
    """
    require(actor, Role.ADMIN)
    if not 0 < len(reason.strip()) <= MAX_REASON:
        message = f"Say why, in up to {MAX_REASON} characters."
        raise BadInput(message, details=[{"path": "reason", "message": message}])
    connection = connections.locked(name)
    now = time.time() if now is None else now
    (book,) = ledger.lock([connection.pk], now)
    before = book.book
    if opened and not (before.breaker == OPEN and before.by):
        book.book = open_by_hand(before, now, actor.name, reason.strip())
    elif not opened:
        book.book = close(before)
    changed = (before.breaker, before.by) != (book.book.breaker, book.book.by)
    book.save()
    if not changed:
        return
    limits_changed.send(sender=None, connection_id=connection.pk)
    audit.record(
        actor=actor,
        action="circuit.opened" if opened else "circuit.closed",
        object_type="connection",
        object_id=name,
        data={"reason": reason.strip(), "before": before.breaker},
    )
