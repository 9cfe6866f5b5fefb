"""What lint knows of types: from the input's schema and from what every step has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flows.definition.expr import Reference
from flows.definition.lint_graph import did_you_mean
from flows.definition.plan import StepPlan

Json = Any
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
MAX_TYPES = 500


def known_types(
    schema: Mapping[str, Json], steps: tuple[StepPlan, ...], variables: Mapping[str, Json] | None = None
) -> dict[str, str]:
    """Dotted names -> types, as expr.check takes them. `number` stays open: JSON writes 2 and 2.0."""
    out: dict[str, str] = {}
    _collect(schema, "input", out, 0)
    _collect({"properties": dict(variables or {})}, "vars", out, 0)
    for step in steps:
        if _NAME.match(step.id) and len(out) < MAX_TYPES:
            out[f"steps.{step.id}.status"] = "string"
            out[f"steps.{step.id}.attempts"] = "integer"
            out[f"steps.{step.id}.stale"] = "boolean"
            if step.family == "approval":
                out[f"steps.{step.id}.output.decision"] = "string"
    return out


def _collect(schema: Mapping[str, Json], prefix: str, out: dict[str, str], depth: int) -> None:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or depth > 4:
        return
    for name, sub in properties.items():
        if not isinstance(sub, dict) or not _NAME.match(name) or len(out) >= MAX_TYPES:
            continue
        kind = _kind(sub)
        if kind:
            out[f"{prefix}.{name}"] = kind
        if kind == "object":
            _collect(sub, f"{prefix}.{name}", out, depth + 1)


def _kind(schema: Mapping[str, Json]) -> str | None:
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        return "strings" if isinstance(items, dict) and items.get("type") == "string" else "array"
    return kind if kind in ("string", "integer", "boolean", "object") else None


def undeclared(variables: Mapping[str, Json], reference: Reference) -> tuple[str, str, str] | None:
    """(rule, message, hint) if the variable read is not among those that the flow declares."""
    name = reference.path[1] if len(reference.path) > 1 else None
    if isinstance(name, str) and name not in variables:
        hint = did_you_mean(name, variables) if variables else f"Write `vars: {{{name}: {{type: string}}}}` at the top."
        return ("unknown-variable", f"The flow declares no variable `{name}`.", hint)
    return None


def missing_input(schema: Mapping[str, Json], reference: Reference) -> tuple[str, str, str] | None:
    """(rule, message, hint) if the schema lists properties and the one read is not among them."""
    current: Json = schema
    for index, name in enumerate(reference.path[1:], 1):
        properties = current.get("properties") if isinstance(current, dict) else None
        if not isinstance(properties, dict) or not isinstance(name, str):
            return None
        if name not in properties:
            if current.get("additionalProperties") or current.get("patternProperties"):
                return None
            where = ".".join(map(str, reference.path[: index + 1]))
            return ("unknown-input", f"The input's schema has no `{where}`.", did_you_mean(name, properties))
        current = properties[name]
    return None
