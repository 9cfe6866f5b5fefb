"""What a connection's page and API tell of it beside its settings: who uses it, how it fares, what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from resources import audit, health, usage
from resources.models import AuditEntry, ConnectionHealth

#: changes listed
MOST: Final = 20
_WORDS: Final = {
    "connection.created": "Added", "connection.updated": "Changed", "connection.deleted": "Deleted",
    "connection.tested": "Tested",
}  # fmt: skip


def about(connection_id: int, name: str) -> dict[str, Any]:
    """For its page: `uses`, `health` and its badge `state`, `changes`. Times are epoch seconds."""
    row = ConnectionHealth.objects.filter(connection_id=connection_id).first()
    return {
        "uses": usage.uses_of("connection", name),
        "health": health.facts(row),
        "state": health.summary(row)[0],
        "changes": changes_of(name),
    }


def health_of(connection_id: int) -> dict[str, Any]:
    """As `resources.health.facts`."""
    return health.facts(ConnectionHealth.objects.filter(connection_id=connection_id).first())


def changes_of(name: str) -> list[dict[str, Any]]:
    """{at, actor, action, words, version, changed} of the last changes and tests, newest first."""
    rows = audit.read(AuditEntry.objects.filter(object_type="connection", object_id=name).order_by("-seq")[:MOST])
    return [
        {
            "at": row.at.timestamp(),
            "actor": row.actor,
            "action": row.action,
            "words": _WORDS.get(row.action, row.action.rpartition(".")[2].replace("_", " ").capitalize()),
            "version": row.data.get("version") if isinstance(row.data.get("version"), int) else None,
            "changed": changed(row.data),
        }
        for row in rows
    ]


def changed(data: Mapping[str, Any]) -> list[str]:
    """The settings that differ between the `before` and `after` of an audit entry. Pure."""
    before, after = data.get("before"), data.get("after")
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return []
    return sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
