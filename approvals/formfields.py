"""A form from a flat JSON Schema, and the answer typed back from what a browser posts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.definition.sensitive import MARK

PREFIX = "form-"  # of field names in HTML, so that none meets "digest" or "comment"


def fields_of(schema: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One dict a field: name, id, label, hint, kind (select | segmented | number | text | check), value, options, …"""
    required = set(schema.get("required", ()))
    return [
        _field(name, spec, name in required, (values or {}).get(name, spec.get("default")))
        for name, spec in (schema.get("properties") or {}).items()
        if isinstance(spec, Mapping)
    ]


def _field(name: str, spec: Mapping[str, Any], required: bool, value: Any) -> dict[str, Any]:
    known = value == MARK  # somebody answered, with what is not shown: it stays unless it is changed
    choices = [True, False] if known and spec.get("type") == "boolean" and "enum" not in spec else spec.get("enum", ())
    options = [{"value": _text(o), "label": _text(o), "on": o == value} for o in ([MARK] if known else []) + [*choices]]
    return {
        "name": PREFIX + name,
        "key": name,
        "id": f"f-{name}",
        "label": spec.get("title") or name.replace("_", " ").capitalize(),
        "hint": spec.get("description", ""),
        "kind": ("select" if choices else "text") if known else _kind(spec),
        "required": required,
        "value": "" if value is None else _text(value),
        "on": value is True,
        "options": options,
        "unit": spec.get("x-unit", ""),
        "min": spec.get("minimum"),
        "max": spec.get("maximum"),
        "step": "1" if spec.get("type") == "integer" else "any",
        "pattern": None if known else spec.get("pattern"),
        "maxlength": None if known else spec.get("maxLength"),
    }


def _kind(spec: Mapping[str, Any]) -> str:
    if "enum" in spec:
        return "segmented" if len(spec["enum"]) <= 3 else "select"
    return {"integer": "number", "number": "number", "boolean": "check"}.get(str(spec.get("type")), "text")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def answer_of(schema: Mapping[str, Any], posted: Mapping[str, str]) -> dict[str, Any]:
    """What was posted, in the types of the schema. What does not convert stays text: validation names it."""
    answer: dict[str, Any] = {}
    for name, spec in (schema.get("properties") or {}).items():
        raw = posted.get(PREFIX + name)
        if raw == MARK:
            answer[name] = MARK
        elif spec.get("type") == "boolean" and "enum" not in spec:
            answer[name] = raw not in (None, "", "false")
        elif raw not in (None, ""):
            answer[name] = _typed(spec, str(raw))
    return answer


def _typed(spec: Mapping[str, Any], raw: str) -> Any:
    for option in spec.get("enum", ()):
        if _text(option) == raw:
            return option
    try:
        return {"integer": int, "number": float}.get(str(spec.get("type")), str)(raw)
    except ValueError:
        return raw
