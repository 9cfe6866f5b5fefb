"""Which values of a run its plan calls sensitive: every schema that says `x-sensitive`, by what it is of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from flows.definition import waiting
from flows.definition.plan import UNDO, Plan, StepPlan
from flows.definition.sensitive import KEY, marks
from flows.plans import plan_of

Json = Any
Schema = Mapping[str, Json]
_ALL: Final[Schema] = {KEY: True}


@dataclass(frozen=True, slots=True)
class Shapes:
    """Schemas that mark something; what is not there marks nothing. `outputs`, `configs`: by step, of one item."""

    input: Schema | None = None
    vars: Schema | None = None
    outputs: Mapping[str, Schema] = field(default_factory=dict)
    configs: Mapping[str, Schema] = field(default_factory=dict)
    lists: frozenset[str] = frozenset()  # the steps of `outputs` that are fanned out
    calls: bool = False  # it starts runs of other flows, which may mark something themselves

    @property
    def marked(self) -> bool:
        return bool(self.input or self.vars or self.outputs or self.configs)


@lru_cache(maxsize=256)
def of_release(release_id: int, checksum: str) -> Shapes:
    """A release never changes. Raises Release.DoesNotExist."""
    return of_plan(plan_of(release_id, checksum))


def of_plan(plan: Plan) -> Shapes:
    steps = [*plan.steps, *(plan.step(s.id + UNDO) for s in plan.steps if s.compensate is not None)]
    outputs = {s.id: schema for s in steps if (schema := output_of(s)) is not None}
    configs = {s.id: schema for s in steps if (schema := _config(s.family, s.config)) is not None}
    return Shapes(
        input=plan.input_schema if marks(plan.input_schema) else None,
        vars={"properties": {n: _rooted(v) for n, v in plan.vars.items()}} if plan.vars and marks(plan.vars) else None,
        outputs=outputs,
        configs=configs,
        lists=frozenset(s.id for s in steps if s.id in outputs and s.for_each is not None),
        calls=any(s.family == "call" for s in steps),
    )


def output_of(step: StepPlan) -> Schema | None:
    """Of one output of a step: what it declares, and what its family takes from outside by a schema of its own."""
    found = [step.output_schema, _given(step.family, step.config)]
    if step.fallback is not None and step.fallback.family is not None:
        found.append(_given(step.fallback.family, step.fallback.config or {}))
    marked = [schema for schema in found if schema is not None and marks(schema)]
    return {"allOf": [_rooted(schema) for schema in marked]} if marked else None


def _rooted(schema: Schema) -> Schema:
    """A schema of its own within another: its `$ref` start at its own root."""
    return {"$id": "own", **schema}


def _given(family: str, config: Mapping[str, Json]) -> Schema | None:
    if family == waiting.FAMILY:
        return _waited(config)
    if family == "approval":
        return _within("form", config.get("form"))
    if family == "function":
        return config.get("gives")
    return _said(config) if family == "llm" else None


def _waited(config: Mapping[str, Json]) -> Schema | None:
    """A callback's output is its body, an event's has it as `body`; of several it stands in `value`."""
    found: list[Schema] = []
    for kind in ("callback", "event"):
        for name, option in waiting.of_kind(config, kind).items():
            schema = option.get("schema")
            whole = _within("body", schema) if kind == "event" else schema
            if whole is not None and marks(whole):
                found.append(whole if name == waiting.ALONE else _within("value", whole) or {})
    return {"allOf": [_rooted(schema) for schema in found]} if found else None


def _said(config: Mapping[str, Json]) -> Schema | None:
    """A model's answer stands in `json`, and again in `text`; its calls of tools are texts of JSON."""
    parts: dict[str, Json] = {}
    if marks(config.get("schema")):
        parts |= {"json": _rooted(config["schema"]), "text": _ALL}
    tools = config.get("tools")
    if isinstance(tools, list) and any(isinstance(t, Mapping) and marks(t.get("parameters")) for t in tools):
        parts["calls"] = {"items": {"properties": {"arguments": _ALL, "result": _ALL}}}
    return {"properties": parts} if parts else None


def _config(family: str, config: Mapping[str, Json]) -> Schema | None:
    """Of what a step is about to do, resolved."""
    takes = config.get("takes") if family == "function" else None
    return _within("input", takes) if marks(takes) else None


def _within(name: str, schema: Json) -> Schema | None:
    return {"properties": {name: _rooted(schema)}} if isinstance(schema, Mapping) else None
