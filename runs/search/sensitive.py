"""What a schema marks `x-sensitive: true` is neither found nor shown by a search. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resources.masking import MASK

Json = Any
_DEEPEST = 32


def blank(value: Json, schema: Json, depth: int = 0) -> Json:
    """The same JSON with MASK for what is sensitive."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return value
    if schema.get("x-sensitive") is True:
        return MASK
    for key in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(key, ()) if isinstance(schema.get(key), list) else ():
            value = blank(value, part, depth + 1)
    if isinstance(value, dict):
        return _members(value, schema, depth)
    if isinstance(value, list):
        return [blank(item, schema.get("items"), depth + 1) for item in value]
    return value


def _members(value: dict[str, Json], schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
    known = schema.get("properties")
    known = known if isinstance(known, Mapping) else {}
    others = schema.get("additionalProperties")
    return {key: blank(item, known.get(key, others), depth + 1) for key, item in value.items()}


def marks(schema: Json, depth: int = 0) -> bool:
    """Does any part of it say `x-sensitive`?"""
    if isinstance(schema, Mapping):
        if schema.get("x-sensitive") is True or depth > _DEEPEST:
            return True
        return any(marks(part, depth + 1) for part in schema.values())
    return isinstance(schema, list) and any(marks(part, depth + 1) for part in schema)


def values(value: Json, schema: Json, depth: int = 0) -> Iterator[str]:
    """Every plain value that is sensitive, as text."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    if schema.get("x-sensitive") is True:
        yield from _plain(value)
        return
    for key in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(key, ()) if isinstance(schema.get(key), list) else ():
            yield from values(value, part, depth + 1)
    if isinstance(value, dict):
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        for key, item in value.items():
            yield from values(item, known.get(key, schema.get("additionalProperties")), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from values(item, schema.get("items"), depth + 1)


def _plain(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _plain(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
