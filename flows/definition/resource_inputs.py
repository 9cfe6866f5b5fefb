"""`format: resource` in an input's schema: a text that names a resource, `res://<id>`. Pure.

It is read where a form can offer it: under `properties` and `items`, however deep. `contentMediaType` beside it narrows
the type: `text/csv`, or `image/*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = Any
Path = tuple[str | int, ...]
FORMAT: Final = "resource"
_MEDIA: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/([a-z0-9][a-z0-9!#$&^_.+-]*|\*)")
#: keys of a schema whose values are no schemas
_VALUES: Final = frozenset({"default", "const", "enum", "examples"})


@dataclass(frozen=True, slots=True)
class Named:
    """A value that names a resource. `media`: the type asked for; "" is any."""

    path: Path
    address: str
    media: str

    def takes(self, content_type: str) -> bool:
        wanted = self.media.lower()
        return wanted in ("", content_type) or (wanted.endswith("/*") and content_type.startswith(wanted[:-1]))


def is_resource(schema: Json) -> bool:
    return isinstance(schema, Mapping) and schema.get("format") == FORMAT


def named(schema: Json, value: Json, path: Path = ()) -> Iterator[Named]:
    """What of a value that fits its schema names a resource."""
    if not isinstance(schema, Mapping):
        return
    if is_resource(schema) and isinstance(value, str):
        yield Named(path, value, str(schema.get("contentMediaType", "")))
    for name, sub in (schema.get("properties") or {}).items() if isinstance(value, dict) else ():
        if name in value:
            yield from named(sub, value[name], (*path, name))
    for index, item in enumerate(value) if isinstance(value, list) and "items" in schema else ():
        yield from named(schema["items"], item, (*path, index))


def misplaced(schema: Json, *, allowed: bool, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """(path, what is wrong) wherever the format stands where nobody reads it. `allowed`: it is an input's schema."""
    if not isinstance(schema, dict):
        return
    if is_resource(schema):
        if not allowed:
            yield (*path, "format"), "a resource is only asked for under `properties` and `items` of the input"
        elif schema.get("type") != "string":
            yield (*path, "format"), "a resource is named by a text: write `type: string` beside it"
        elif "contentMediaType" in schema and not _MEDIA.fullmatch(str(schema["contentMediaType"]).lower()):
            yield (*path, "contentMediaType"), "a type is such as text/csv or image/*"
    for key, sub in schema.items():
        if key in _VALUES:
            continue
        if key == "properties" and isinstance(sub, dict):
            for name, one in sub.items():
                yield from misplaced(one, allowed=allowed, path=(*path, key, name))
        elif isinstance(sub, dict):
            yield from misplaced(sub, allowed=allowed and key == "items", path=(*path, key))
        elif isinstance(sub, list):
            for index, one in enumerate(sub):
                yield from misplaced(one, allowed=False, path=(*path, key, index))
