"""`x-sensitive: true` in a JSON Schema: which parts of a value it marks, and the value without them. Pure.

Where a schema leaves open which of its parts holds (`anyOf`, `oneOf`, `if`, conditions of any kind), every part counts:
what one of them marks is marked. A `$ref` that leads nowhere and a pattern that cannot be read mark what they stand at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Json = Any
Place = tuple[str | int, ...]
KEY: Final = "x-sensitive"
#: what stands for a sensitive value, whatever its type
MARK: Final = "[sensitive]"
#: parts of a schema that speak of the same value
_SAME: Final = ("allOf", "anyOf", "oneOf", "if", "then", "else", "not", "dependentSchemas", "$dynamicRef", "$ref")


def marks(schema: Json) -> bool:
    """Does any part of it say so? Also a part that no value reaches."""
    stack = [schema]
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            if part.get(KEY) is True:
                return True
            stack += part.values()
        elif isinstance(part, list):
            stack += part
    return False


def places(schema: Json, value: Json) -> list[Place]:
    """Where sensitive parts of `value` are, the outermost ones; () is all of it."""
    if not marks(schema):
        return []
    found = dict.fromkeys(_Walk().at(schema, value, (), schema))
    return [p for p in found if not any(p[:n] in found for n in range(len(p)))]


def blank(schema: Json, value: Json) -> Json:
    """The same JSON with MARK for each sensitive part; `value` itself where there is none."""
    return _with_marks(value, _tree(places(schema, value)))


def texts(schema: Json, value: Json) -> Iterator[str]:
    """Every text and number within the sensitive parts, as text."""
    for place in places(schema, value):
        part = value
        for key in place:
            part = part[key]
        yield from plain(part)


def plain(value: Json) -> Iterator[str]:
    """Every text and number of JSON, as text; no keys, no true, false, null."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            stack += part.values()
        elif isinstance(part, list):
            stack += part
        elif part is not None and not isinstance(part, bool):
            yield str(part)


def restored(given: Json, shown: Json, stored: Json) -> Json:
    """What somebody made of `shown`, the masked form of `stored`: what they left as it was shown is what was stored."""
    if isinstance(given, str):
        return stored if given == shown else given
    if isinstance(given, Mapping) and isinstance(shown, Mapping) and isinstance(stored, Mapping):
        return {
            key: restored(item, shown[key], stored[key]) if key in shown and key in stored else item
            for key, item in given.items()
        }
    if isinstance(given, list) and isinstance(shown, list) and isinstance(stored, list):
        pairs = min(len(shown), len(stored))
        return [restored(item, shown[n], stored[n]) if n < pairs else item for n, item in enumerate(given)]
    return given


def holds_mark(value: Json) -> bool:
    """Does any text of it hold MARK?"""
    return any(MARK in text for text in plain(value))


#: the places below a value, by their first key; None: all of it
_Tree = dict[str | int, Any] | None


def _tree(found: Iterable[Place]) -> _Tree:
    root: dict[str | int, Any] = {}
    for place in found:
        if not place:
            return None
        below = root
        for key in place[:-1]:
            below = below.setdefault(key, {})
        below[place[-1]] = None
    return root


def _with_marks(value: Json, tree: _Tree) -> Json:
    if tree is None:
        return MARK
    if not tree:
        return value
    copy = value.copy()
    for key, below in tree.items():
        copy[key] = _with_marks(value[key], below)
    return copy


class _Walk:
    """One look at one value. A part of a schema is looked at once at each place, so that a `$ref` to itself ends."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, Place]] = set()

    def at(self, schema: Json, value: Json, place: Place, root: Json) -> Iterator[Place]:
        if not isinstance(schema, Mapping) or (id(schema), place) in self.seen:
            return
        self.seen.add((id(schema), place))
        root = schema if isinstance(schema.get("$id"), str) else root
        if schema.get(KEY) is True or marks(schema.get("propertyNames")) or marks(schema.get("contentSchema")):
            yield place
            return
        for key in _SAME:
            for part in _parts(schema, key, root):
                if part is None:  # leads nowhere
                    yield place
                yield from self.at(part, value, place, root)
        yield from self._below(schema, value, place, root)

    def _below(self, schema: Mapping[str, Json], value: Json, place: Place, root: Json) -> Iterator[Place]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                for part in _of_member(schema, key):
                    yield from self.at(part, item, (*place, key), root)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                for part in _of_item(schema, number):
                    yield from self.at(part, item, (*place, number), root)


def _parts(schema: Mapping[str, Json], key: str, root: Json) -> Iterable[Json]:
    """The schemas that `key` adds; None: one that cannot be found."""
    part = schema.get(key)
    if part is None:
        return []
    if key in ("$ref", "$dynamicRef"):
        return [_target(part, root)]
    if key == "dependentSchemas":
        return list(part.values()) if isinstance(part, Mapping) else []
    return part if isinstance(part, list) else [part]


def _of_member(schema: Mapping[str, Json], key: str) -> Iterator[Json]:
    """The schemas of a property."""
    known, patterns = schema.get("properties"), schema.get("patternProperties")
    found = False
    if isinstance(known, Mapping) and key in known:
        found = True
        yield known[key]
    for pattern, part in patterns.items() if isinstance(patterns, Mapping) else ():
        if _fits(pattern, key):
            found = True
            yield part
    if not found:
        yield schema.get("additionalProperties")
        yield schema.get("unevaluatedProperties")


def _of_item(schema: Mapping[str, Json], number: int) -> Iterator[Json]:
    first, rest = schema.get("prefixItems"), schema.get("items")
    if isinstance(first, list) and number < len(first):
        yield first[number]
    else:
        yield rest
        yield schema.get("unevaluatedItems")
    yield schema.get("contains")


def _fits(pattern: str, key: str) -> bool:
    try:
        return re.search(pattern, key) is not None
    except re.error:
        return True


def _target(ref: Json, root: Json) -> Json:
    """What a `$ref` within the document means; None: nothing is there."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        return None
    pointer = ref[1:]
    if pointer and not pointer.startswith("/"):
        return _anchored(root, pointer)
    part = root
    for raw in pointer.split("/")[1:]:
        step = _unquoted(raw)
        if isinstance(part, Mapping) and step in part:
            part = part[step]
        elif isinstance(part, list) and step.isdecimal() and int(step) < len(part):
            part = part[int(step)]
        else:
            return None
    return part


def _unquoted(raw: str) -> str:
    decoded = re.sub(r"%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), raw)
    return decoded.replace("~1", "/").replace("~0", "~")


def _anchored(root: Json, name: str) -> Json:
    stack = [root]
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            if name in (part.get("$anchor"), part.get("$dynamicAnchor")):
                return part
            stack += part.values()
        elif isinstance(part, list):
            stack += part
    return None
