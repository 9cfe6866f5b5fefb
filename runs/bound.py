"""Which connections the names in a run's plan stand for, where limits must know it before the action is worked out."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from flows import bindings
from flows.definition.bindings import Bindings, Place, stands_for

#: seconds a process goes by the bindings of a flow that it read
REMEMBER: Final = 1.0
#: flows remembered at most
_MOST: Final = 1000


@dataclass(slots=True)
class _Seen:
    at: float
    bindings: Bindings
    #: {name: all it stood for while this process looked}: an attempt that began before a change ends after it
    ever: dict[str, set[str]] = field(default_factory=dict)


_seen: dict[Place, _Seen] = {}


def real(place: Place, name: str | None) -> str | None:
    """What the name stands for, as last read."""
    return None if name is None else stands_for(name, place, _read(place).bindings)


def ever(place: Place, names: Collection[str]) -> set[str]:
    """What these names stand for, or did while this process looked."""
    seen, found = _read(place), set()
    for name in names:
        known = seen.ever.setdefault(name, set())
        known.add(stands_for(name, place, seen.bindings))
        found |= known
    return found


def refresh(place: Place) -> None:
    """Read again at once: an answer that is one second old could make a step wait for the wrong connection."""
    if (seen := _seen.get(place)) is not None:
        seen.at = float("-inf")


def refresh_all() -> None:
    for place in _seen:
        refresh(place)


def forget() -> None:
    """Ask again, of another database perhaps."""
    _seen.clear()


def _read(place: Place) -> _Seen:
    steady, seen = time.monotonic(), _seen.get(place)
    if seen is not None and steady - seen.at <= REMEMBER:
        return seen
    if seen is None:
        if len(_seen) >= _MOST:
            _seen.clear()
        seen = _seen[place] = _Seen(steady, {})
    seen.at, seen.bindings = steady, bindings.read(flow=place.flow)
    return seen
