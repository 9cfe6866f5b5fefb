"""What a connection's name in a flow stands for: a binding may say so, apart for tests and for live runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name is read: in runs of the flow with that slug ("": only what holds for all flows), tests or not."""

    flow: str = ""
    test: bool = False


@dataclass(frozen=True, slots=True)
class Sides:
    """The connection in test runs and in live runs; "": this binding does not say."""

    test: str = ""
    live: str = ""

    def of(self, place: Place) -> str:
        return self.test if place.test else self.live


#: {(flow, or "" for all flows; name in the flow): sides}
Bindings = Mapping[tuple[str, str], Sides]
_NONE = Sides()


def places_in(config: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """(path, what stands there) of every place of a step's config that names a connection."""
    if not isinstance(config, Mapping):
        return
    yield ("connection",), config.get("connection")
    channels = config.get("channels")
    for index, channel in enumerate(channels if isinstance(channels, list) else ()):
        if isinstance(channel, Mapping):
            yield ("channels", index, "connection"), channel.get("connection")


def stands_for(name: str, place: Place, bindings: Bindings) -> str:
    """The connection: as the flow's own binding says, else the one for all flows, else the name itself.

    What a binding names is a connection, never looked up as a name again.
    """
    own = bindings.get((place.flow, name), _NONE).of(place) if place.flow else ""
    return own or bindings.get(("", name), _NONE).of(place) or name
