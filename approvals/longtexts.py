"""Longer texts in an action (SQL, a script, code, a message), to be read as they are written.

In the payload, which is JSON, they stand in one line with their ends escaped. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

#: of one action; what is left out is in the payload like the rest
MOST: Final = 20
#: characters up to which words in one line are read well enough in the payload
_SHORT: Final = 80


def texts_of(action: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(where in the action's config, the text), in its order: `statements 2` is the second one of a list."""
    return list(islice(_found(action.get("config"), ""), MOST))


def _found(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case str() if "\n" in (text := value.strip()) or (len(text) > _SHORT and " " in text):
            yield path, value.strip("\n")
        case dict():
            for name, inner in value.items():
                yield from _found(inner, f"{path} {name}".lstrip())
        case list():
            for number, inner in enumerate(value, 1):
                yield from _found(inner, f"{path} {number}".lstrip())
