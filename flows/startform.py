"""A form made of a flow's input schema, and a posted form made into an input. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.definition.resource_inputs import is_resource

Json = Any
PREFIX = "in."  # of field names, apart from the form's own
WHOLE = "in"  # the one field of a schema that is no object
SEGMENTS = 3  # an enum up to this long shows all of it


@dataclass(frozen=True, slots=True)
class Choice:
    value: str  # JSON of the enum's value
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Field:
    """One control. kind: segmented | select | check | number | text | resource | json. `media`: a resource's type."""

    name: str
    html_id: str
    label: str
    kind: str
    value: str
    help: str = ""
    required: bool = False
    error: str = ""
    step: str = "any"
    choices: list[Choice] = field(default_factory=list)
    media: str = ""
    offered: list[tuple[str, str]] = field(default_factory=list)  # (address, name)


def fields_of(
    schema: Mapping[str, Json], posted: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None
) -> list[Field]:
    """The controls, filled with what was posted, else with the schema's defaults."""
    errors = errors or {}
    if not schema:
        return []
    properties = _properties(schema)
    if properties is None:
        return [_field(WHOLE, "Input", schema, True, posted, errors.get("", ""), kind="json")]
    needed = set(schema.get("required") or ())
    return [
        _field(
            PREFIX + name, name, prop if isinstance(prop, dict) else {}, name in needed, posted, errors.get(name, "")
        )
        for name, prop in properties.items()
    ]


def read_form(schema: Mapping[str, Json], posted: Mapping[str, str]) -> tuple[Json, dict[str, str]]:
    """(input, errors by property; "" is the form's own). Empty optional controls are left out."""
    if not schema:
        return {}, {}
    properties = _properties(schema)
    if properties is None:
        return _parse_json(posted.get(WHOLE, ""), {}, "")
    needed = set(schema.get("required") or ())
    value, errors = dict[str, Json](), dict[str, str]()
    for name, prop in properties.items():
        _read_one(name, prop if isinstance(prop, dict) else {}, name in needed, posted, value, errors)
    return value, errors


def field_errors(problems: list[dict[str, Json]], schema: Mapping[str, Json]) -> dict[str, str]:
    """Validation problems ([{path: [keys], message}]) by the property they belong to."""
    known = _properties(schema) or {}
    errors = dict[str, str]()
    for problem in problems:
        path = list(problem.get("path") or [""])
        first, rest = str(path[0]), [str(p) for p in path[1:]]
        message = str(problem.get("message", ""))
        where = f"At {'.'.join(rest)}: " if rest and first in known else ""
        errors.setdefault(first if first in known else "", where + message)
    return errors


def _properties(schema: Mapping[str, Json]) -> Mapping[str, Json] | None:
    properties = schema.get("properties")
    return properties if schema.get("type", "object") == "object" and isinstance(properties, dict) else None


def _kind(schema: Mapping[str, Json]) -> str:
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        return "segmented" if len(enum) <= SEGMENTS else "select"
    if is_resource(schema):
        return "resource"
    simple = {"string": "text", "integer": "number", "number": "number", "boolean": "check"}
    name = schema.get("type")
    return simple.get(name, "json") if isinstance(name, str) else "json"


def _field(
    name: str,
    label: str,
    schema: Mapping[str, Json],
    required: bool,
    posted: Mapping[str, str] | None,
    error: str,
    kind: str = "",
) -> Field:
    kind = kind or _kind(schema)
    value = posted.get(name, "") if posted is not None else _default(schema, kind)
    title = schema.get("title")
    return Field(
        name=name,
        html_id="f-" + "".join(c if c.isalnum() else "-" for c in name),
        label=title if isinstance(title, str) and title else label,
        kind=kind,
        value=value,
        help=_help(schema),
        required=required,
        error=error,
        step="1" if schema.get("type") == "integer" else "any",
        choices=[_choice(option, value) for option in schema.get("enum") or []],
        media=str(schema.get("contentMediaType", "")) if kind == "resource" else "",
    )


def _choice(option: Json, value: str) -> Choice:
    text = json.dumps(option, ensure_ascii=False)
    return Choice(text, option if isinstance(option, str) else text, text == value)


def _default(schema: Mapping[str, Json], kind: str) -> str:
    if "default" not in schema:
        return ""
    default = schema["default"]
    if kind == "check":
        return "on" if default is True else ""
    return (
        default
        if kind in ("text", "resource") and isinstance(default, str)
        else json.dumps(default, ensure_ascii=False)
    )


def _help(schema: Mapping[str, Json]) -> str:
    parts = [str(schema[key]) for key in ("description",) if schema.get(key)]
    if "pattern" in schema:
        parts.append(f"Must match {schema['pattern']}.")
    if "minimum" in schema or "maximum" in schema:
        parts.append(f"From {schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}.")
    return " ".join(parts)


def _read_one(
    name: str,
    schema: Mapping[str, Json],
    required: bool,
    posted: Mapping[str, str],
    value: dict[str, Json],
    errors: dict[str, str],
) -> None:
    kind, text = _kind(schema), posted.get(PREFIX + name, "")
    if kind == "check":
        value[name] = bool(text)
    elif not text.strip():
        if required:
            errors[name] = "This is needed."
    elif kind == "resource":
        value[name] = text.strip()
    elif kind == "text":
        value[name] = text.replace("\r\n", "\n")
    elif kind == "number" and schema.get("type") == "integer":
        _read_integer(name, text, value, errors)
    else:
        parsed, problem = _parse_json(text, None, name)
        errors.update(problem)
        if not problem:
            value[name] = parsed


def _read_integer(name: str, text: str, value: dict[str, Json], errors: dict[str, str]) -> None:
    try:
        value[name] = int(text)
    except ValueError:
        errors[name] = "Write a whole number."


def _parse_json(text: str, empty: Json, name: str) -> tuple[Json, dict[str, str]]:
    if not text.strip():
        return empty, {}
    try:
        return json.loads(text, parse_constant=_refuse), {}
    except (ValueError, RecursionError) as error:
        return None, {name: f"This is not JSON: {error}."}


def _refuse(text: str) -> Json:
    raise ValueError(f"{text} is not JSON")
