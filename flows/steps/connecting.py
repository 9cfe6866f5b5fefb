"""The connection of an action, in exactly the version that the action names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    return as_named(action.connection)


def as_named(named: Mapping[str, Any]) -> ConnectionRef:
    """Of what an action says of a connection. Raises Changed, and Refused when it is gone."""
    try:
        ref = connections.resolve(str(named["name"]))
    except OrchestraError as e:
        raise Refused(e.message) from e
    if (ref.id, ref.version) != (named["id"], named["version"]):
        raise Changed(f"The connection {ref.name} was changed after this step was resolved; nothing was sent.")
    return ref
