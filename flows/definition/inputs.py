"""Input against its JSON Schema: validation, defaults, and the guard that comes before both. Pure.

Schemas never fetch anything: a `$ref` that leaves the document is refused.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flows.definition.jsonguard import MAX_BYTES, MAX_DEPTH, JsonError, check_json
from flows.definition.sensitive import KEY, MARK, marks

if TYPE_CHECKING:
    import jsonschema_rs

__all__ = ["MAX_BYTES", "MAX_DEPTH", "JsonError", "check_json", "schema_problems", "validate_input", "with_defaults"]

Json = Any
MAX_PROBLEMS = 50


def _offline(uri: str) -> Json:
    raise ValueError(f"{uri} is outside of this document; schemas are not fetched")


@lru_cache(maxsize=512)
def _validator(text: str) -> jsonschema_rs.Draft202012Validator:
    """Raises ValueError for a schema that cannot be used."""
    import jsonschema_rs  # 3 MiB that a process needs from its first schema on

    schema = json.loads(text)
    mask = MARK if marks(schema) else None  # what is wrong is then said without the value
    return jsonschema_rs.Draft202012Validator(schema, retriever=_offline, validate_formats=True, mask=mask)


def _key(schema: Mapping[str, Json]) -> str:
    return json.dumps(schema, sort_keys=True)


def validate_input(schema: Mapping[str, Json], value: Json) -> list[dict[str, Json]]:
    """What is wrong with `value`: [{"path": [keys], "message": a sentence}]; empty when it fits.

    At most 50. Raises JsonError when the value is too deep or too large to be looked at, ValueError
    for a schema that lint would have refused.
    """
    check_json(value)
    out: list[dict[str, Json]] = []
    for error in _validator(_key(schema)).iter_errors(value):
        out.append({"path": list(error.instance_path), "message": _short(error.message)})
        if len(out) >= MAX_PROBLEMS:
            break
    return out


def _short(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:200]} … {message[-90:]}"


def with_defaults(schema: Mapping[str, Json], value: Json) -> Json:
    """A copy of `value` with the schema's defaults where keys are missing, in nested objects too.

    Only `properties` are followed, never `$ref` or alternatives: what is filled in can be read off the schema.
    """
    if value is None and schema.get("type") == "object":
        value = {}
    if not isinstance(value, dict):
        return copy.deepcopy(value)
    out = {k: copy.deepcopy(v) for k, v in value.items()}
    properties = schema.get("properties")
    for name, sub in properties.items() if isinstance(properties, Mapping) else ():
        if not isinstance(sub, Mapping):
            continue
        if name not in out and "default" in sub:
            out[name] = copy.deepcopy(sub["default"])
        if isinstance(out.get(name), dict):
            out[name] = with_defaults(sub, out[name])
    return out


def schema_problems(schema: Json) -> list[tuple[tuple[str | int, ...], str, str]]:
    """What is wrong with a schema: (path in it, rule id, sentence)."""
    found = [
        (path, "invalid-schema", f"`{KEY}` is true or false, not {str(value)[:40]!r}")
        for path, value in _odd_marks(schema)
    ]
    found += [
        (path, "invalid-schema", f"`$ref` to {ref[:80]!r} leaves this document; schemas are not fetched")
        for path, ref in _refs(schema)
        if not (isinstance(ref, str) and ref.startswith("#"))
    ]
    if found:
        return found
    import jsonschema_rs

    try:
        check_json(schema)
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
        jsonschema_rs.Draft202012Validator(schema, retriever=_offline)
    except jsonschema_rs.ValidationError as error:
        rule = "invalid-regex" if "regex" in error.message else "invalid-schema"
        return [(tuple(error.instance_path), rule, _short(error.message))]
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return [((), "invalid-schema", _short(str(error)))]
    return []


def _odd_marks(tree: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    """Every `x-sensitive` that would do nothing; a property of that name is a mapping."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == KEY and not isinstance(value, bool | dict):
                yield (*path, key), value
            yield from _odd_marks(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _odd_marks(value, (*path, index))


def _refs(tree: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    """Every `$ref` and `$dynamicRef`; a property that happens to have such a name is a mapping, not a text."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in ("$ref", "$dynamicRef", "$schema", "$id") and isinstance(value, str):
                if key in ("$ref", "$dynamicRef"):
                    yield (*path, key), value
            else:
                yield from _refs(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _refs(value, (*path, index))
