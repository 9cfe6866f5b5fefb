"""Resources that a config names, fixed to what they are when the step is resolved."""

from __future__ import annotations

from flows.steps.base import Json, Refused
from resources import artifacts
from resources.errors import OrchestraError


def pinned(resource: Json) -> dict[str, Json]:
    """{"$res", "size", "sha256", "content_type"} of what is named by its address or by an output.

    Raises Refused for what names no resource.
    """
    name = resource.get("$res") if isinstance(resource, dict) else resource
    if not isinstance(name, str) or not name.startswith(artifacts.PREFIX):
        raise Refused("A body comes from a resource: name one by its address, res://…, or an output that is one")
    try:
        return artifacts.ref(artifacts.get(name))
    except OrchestraError as e:
        raise Refused(f"The resource {name} cannot be sent: {e.message}") from e
