"""The JSON Schema (2020-12) of the whole language: what the editor completes and anyone may validate with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from flows.definition.models import TRIGGERS, FlowModel, StepModel, UndoModel
from flows.definition.problems import RULES
from flows.steps.base import ERROR_CLASSES
from flows.steps.configs import CONFIGS
from flows.steps.fields import Duration

Json = Any
SCHEMA_ID = "https://orchestra.invalid/schemas/flow-1.json"


def json_schema() -> dict[str, Json]:
    """The schema of one flow, as a new dict."""
    definitions: dict[str, Json] = {}
    flow = _of(FlowModel, definitions)
    flow["properties"]["steps"]["items"] = {"$ref": "#/$defs/Step"}
    flow["properties"]["triggers"]["items"] = {"$ref": "#/$defs/Trigger"}
    flow["properties"]["vars"]["additionalProperties"] = _subschema("JSON Schema of the variable")
    flow["properties"]["input"] = _subschema("JSON Schema of the input")
    definitions["Step"] = _step(definitions)
    definitions["Trigger"] = _one_of(TRIGGERS, definitions, "What starts the flow: exactly one kind.")
    definitions["Fallback"] = _fallback()
    definitions["Compensate"] = _compensate(definitions)
    definitions["AlreadyDone"] = _already_done()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Orchestra flow, language 1",
        **flow,
        "$defs": dict(sorted(definitions.items())),
    }


def completions() -> dict[str, Json]:
    """What an editor offers: names in expressions, families, triggers, and the table of lint rules."""
    return {
        "expressions": {
            "input": "the run's input",
            "trigger": "what started the run: trigger.kind; .body, .headers of a webhook; .scheduled_at; .id of events",
            "run": "the run: run.id and others",
            "vars": "vars.<name>: the variables that the flow declares, as they were when the run started",
            "steps": "steps.<id>.output, .status, .error, .attempts, .stale, .age; .url of a wait for a callback",
            "event": "in the match of a wait for an event: event.body, .id, .name, .received_at",
            "check": "in already_done: check.output, what the question gave",
            "item": "the item of a fan-out",
            "item_index": "its place in the list, from 0",
        },
        "families": {name: _summary(model) for name, model in CONFIGS.items()},
        "triggers": {name: _summary(model) for name, model in TRIGGERS.items()},
        "rules": dict(RULES),
    }


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _of(model: type[BaseModel], definitions: dict[str, Json]) -> dict[str, Json]:
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema


def _step(definitions: dict[str, Json]) -> dict[str, Json]:
    step = _of(StepModel, definitions)
    for name, model in CONFIGS.items():
        definitions[model.__name__] = _of(model, definitions)
        step["properties"][name] = {"$ref": f"#/$defs/{model.__name__}", "description": _summary(model)}
    short = {"description": "how long", **TypeAdapter(Duration).json_schema()}
    step["properties"]["sleep"] = {
        "description": _summary(CONFIGS["sleep"]),
        "anyOf": [short, _expression(), {"$ref": "#/$defs/SleepConfig"}],
    }
    step["properties"]["fallback"] = {"$ref": "#/$defs/Fallback"}
    step["properties"]["compensate"] = {"$ref": "#/$defs/Compensate"}
    step["properties"]["already_done"] = {"$ref": "#/$defs/AlreadyDone"}
    step["properties"]["output"] = _subschema("JSON Schema of the output", of_object=False)
    step["oneOf"] = [{"required": [name]} for name in CONFIGS]
    return step


def _expression() -> dict[str, Json]:
    return {"type": "string", "pattern": r"\$\{\{"}


def _one_of(models: Mapping[str, type[BaseModel]], definitions: dict[str, Json], text: str) -> dict[str, Json]:
    properties = {}
    for name, model in models.items():
        definitions[model.__name__] = _of(model, definitions)
        inner: Json = {"$ref": f"#/$defs/{model.__name__}"}
        properties[name] = {"anyOf": [inner, {"type": "null"}]} if not model.model_fields else inner
    return {
        "type": "object",
        "description": text,
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


#: families that do something at once, so that they may stand beside a step's own action
_ACTING = ("http", "db", "function", "kv", "ssh", "notify")


def _fallback() -> dict[str, Json]:
    properties: dict[str, Json] = {name: {"$ref": f"#/$defs/{CONFIGS[name].__name__}"} for name in _ACTING}
    properties["value"] = {"description": "the step's output instead"}
    properties["last_good"] = {"const": True, "description": "the last good output of this step in an earlier run"}
    properties["on"] = {
        "type": "array", "minItems": 1, "items": {"enum": list(ERROR_CLASSES)},
        "description": "error classes it stands in for; else all it may",
    }  # fmt: skip
    return {
        "type": "object",
        "description": "Used when the attempts are spent: a value, another action, or the last good output.",
        "properties": properties,
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in properties if name != "on"],
    }


def _compensate(definitions: dict[str, Json]) -> dict[str, Json]:
    undo = _of(UndoModel, definitions)
    properties: dict[str, Json] = {name: {"$ref": f"#/$defs/{CONFIGS[name].__name__}"} for name in _ACTING}
    return {
        "type": "object",
        "description": "What undoes the step.",
        "properties": {**undo["properties"], **properties},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in _ACTING],
    }


def _already_done() -> dict[str, Json]:
    properties: dict[str, Json] = {name: {"$ref": f"#/$defs/{CONFIGS[name].__name__}"} for name in _ACTING}
    properties["if"] = {
        "anyOf": [{"type": "boolean"}, _expression()],
        "description": "over `check.output`: it happened",
    }
    properties["output"] = {"description": "the step's output then"}
    return {
        "type": "object",
        "description": "Asked before a repeat whose predecessor may have acted.",
        "properties": properties,
        "additionalProperties": False,
        "required": ["if"],
        "oneOf": [{"required": [name]} for name in _ACTING],
    }


def _subschema(text: str, *, of_object: bool = True) -> dict[str, Json]:
    plain: dict[str, Json] = {"type": "object", "description": text}
    return {**plain, "properties": {"type": {"const": "object"}}} if of_object else plain
