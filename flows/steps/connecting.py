"""The connection of an action, in exactly the version that the action names."""

from __future__ import annotations

from flows.steps.base import Action, Refused
from resources import connections
from resources.connections import ConnectionRef
from resources.errors import OrchestraError


class Changed(Exception):
    """The connection is no longer what the action was resolved, and perhaps approved, with."""


def connection_of(action: Action) -> ConnectionRef:
    """Raises Changed, and Refused when it is gone or the action names none."""
    if action.connection is None:
        raise Refused(f"The step {action.step} names no connection.")
    try:
        ref = connections.resolve(str(action.connection["name"]))
    except OrchestraError as e:
        raise Refused(e.message) from e
    if (ref.id, ref.version) != (action.connection["id"], action.connection["version"]):
        raise Changed(f"The connection {ref.name} was changed after this step was resolved; nothing was sent.")
    return ref
