"""What one entry says: what changed from what to what, why, and the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: keys of `data` that are shown in places of their own
_SHOWN: Final = ("before", "after")
#: where people's words are: decisions call them comment
_WORDS: Final = ("reason", "comment")
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs. `path`: keys joined by dots, "" for the whole. `had`, `has`: was, is there one at all?"""

    path: str
    had: bool
    has: bool
    before: Any = None
    after: Any = None


def reason(data: Any) -> str:
    """Why, in the words of the person; "" when nobody said."""
    key = _words_in(data)
    return str(data[key]) if key else ""


def _words_in(data: Any) -> str:
    said = (key for key in _WORDS if isinstance(data, Mapping) and isinstance(data.get(key), str) and data[key])
    return next(said, "")


def rest(data: Any) -> Any:
    """What the entry says besides."""
    if not isinstance(data, Mapping):
        return data
    elsewhere = {*_SHOWN, "reason", _words_in(data)}
    return {k: v for k, v in data.items() if k not in elsewhere}


def changes(data: Any) -> list[Change]:
    """The leaves that differ between `before` and `after`, in the order of their paths; lists count as leaves."""
    if not isinstance(data, Mapping) or not ("before" in data or "after" in data):
        return []
    found = _differ("", data.get("before", _NOTHING), data.get("after", _NOTHING))
    return sorted(found, key=lambda change: change.path)


def _differ(path: str, before: Any, after: Any) -> Iterator[Change]:
    sides = [side for side in (before, after) if side is not _NOTHING]
    if all(isinstance(side, Mapping) for side in sides) and any(sides):
        for key in dict.fromkeys(str(key) for side in sides for key in side):
            values = [side.get(key, _NOTHING) if isinstance(side, Mapping) else _NOTHING for side in (before, after)]
            yield from _differ(f"{path}.{key}" if path else key, *values)
    elif before is _NOTHING or after is _NOTHING or before != after or type(before) is not type(after):
        had, has = before is not _NOTHING, after is not _NOTHING
        yield Change(path, had, has, before if had else None, after if has else None)
