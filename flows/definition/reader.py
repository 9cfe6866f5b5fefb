"""Text -> a document that has the shape of a flow, and every problem of shape. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from flows.definition import models_time, reader_actions, reserved, yaml_source
from flows.definition.graph import derive_needs
from flows.definition.models import TRIGGERS, FlowModel, ScheduleTrigger, StepModel, UndoModel
from flows.definition.models_events import EventTrigger
from flows.definition.models_webhook import WebhookTrigger
from flows.definition.problems import Problem, Severity
from flows.definition.shape import Shape
from flows.definition.yaml_source import Path, Source
from flows.steps.configs import CONFIGS, normalise

Json = Any


@dataclass(frozen=True, slots=True)
class UndoDoc:
    """A step's `compensate` as written."""

    model: UndoModel
    family: str
    config: dict[str, Json]


@dataclass(frozen=True, slots=True)
class StepDoc:
    """One step as written: `model` its common keys, `config` the family's tree in long form."""

    index: int
    model: StepModel
    family: str
    config: dict[str, Json]
    fallback_family: str | None = None
    fallback_config: dict[str, Json] | None = None
    done_family: str | None = None
    done_config: dict[str, Json] | None = None
    undo: UndoDoc | None = None

    @property
    def id(self) -> str:
        return self.model.id

    @property
    def path(self) -> Path:
        return ("steps", self.index)


@dataclass(frozen=True, slots=True)
class TriggerDoc:
    index: int
    kind: str
    model: BaseModel
    raw: dict[str, Json]

    @property
    def name(self) -> str:
        return (
            self.model.address if isinstance(self.model, WebhookTrigger | ScheduleTrigger | EventTrigger) else "manual"
        )


@dataclass(slots=True)
class Document:
    """What could be read. `flow` is None when its own keys are wrong; steps and triggers that are
    wrong are missing from the lists (`whole` is then False)."""

    source: Source
    problems: list[Problem]
    flow: FlowModel | None = None
    steps: list[StepDoc] = field(default_factory=list)
    triggers: list[TriggerDoc] = field(default_factory=list)

    @property
    def input_schema(self) -> dict[str, Json]:
        """The input's schema as written, even when other keys of the flow are wrong."""
        found = self.source.data.get("input") if isinstance(self.source.data, dict) else None
        return found if isinstance(found, dict) else {}

    def needs(self) -> dict[str, tuple[str, ...]]:
        """What each step waits for; steps that are otherwise wrong count too, so that edges do not break."""
        found: list[tuple[str, list[str] | None]] = []
        for raw in _list(self.source.data.get("steps")):
            if isinstance(raw, dict) and isinstance(raw.get("id"), str):
                needs = raw.get("needs")
                known = [n for n in needs if isinstance(n, str)] if isinstance(needs, list) else None
                found.append((raw["id"], known))
        return derive_needs(found, apart=self.handlers)

    @property
    def handlers(self) -> frozenset[str]:
        """Steps that some on_… names: they stand apart from the list's order and run only when called."""
        data = self.source.data
        steps = [s for s in _list(data.get("steps")) if isinstance(s, dict)]
        trees = (data, *steps)
        return frozenset(name for t in trees for name in models_time.called(t) if name != t.get("id"))

    @property
    def whole(self) -> bool:
        return self.flow is not None and not any(p.is_error for p in self.problems)

    def report(
        self, rule: str, path: Path, message: str, hint: str, *, severity: Severity = "error", key: bool = False
    ) -> None:
        """Add a problem at a path."""
        mark = self.source.at(path, key=key)
        where = (mark.line, mark.column, message, hint, mark.end_line, mark.end_column)
        self.problems.append(Problem(rule, severity, *where))


def read(text: str) -> Document:
    """Never raises; everything that is wrong is in `problems`."""
    source = yaml_source.parse(text)
    document = Document(source, list(source.problems))
    if source.problems:
        return document
    if not isinstance(source.data, dict):
        hint = "Start with `flow: my-flow`, `title:` and `steps:`."
        document.report("yaml-document", (), "A flow is a mapping of keys to values.", hint)
        return document
    shape = Shape(document)
    document.flow = shape.check(FlowModel, source.data, (), "flow", also=())
    for index, raw in enumerate(_list(source.data.get("steps"))):
        _read_step(document, shape, index, raw)
    for index, raw in enumerate(_list(source.data.get("triggers"))):
        _read_trigger(document, shape, index, raw)
    return document


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _read_step(document: Document, shape: Shape, index: int, raw: Json) -> None:
    if not isinstance(raw, dict):
        return  # the flow's own model has said so
    path: Path = ("steps", index)
    families = [k for k in raw if k in CONFIGS]
    common = {k: v for k, v in raw.items() if k not in CONFIGS}
    model = shape.check(StepModel, common, path, "step", also=tuple(CONFIGS))
    if len(families) != 1:
        _report_families(document, path, raw, families)
    for family in families:
        reader_actions.read_config(shape, family, raw[family], (*path, family))
    fallback = reader_actions.read_fallback(document, shape, path, raw)
    done = reader_actions.read_already_done(document, shape, path, raw)
    undo = _read_undo(document, shape, path, raw)
    if model is not None and len(families) == 1 and fallback is not None and done is not None:
        config = normalise(families[0], raw[families[0]])
        own = config if isinstance(config, dict) else {}
        document.steps.append(StepDoc(index, model, families[0], own, *fallback, *done, undo))


def _report_families(document: Document, path: Path, raw: dict[str, Json], families: list[str]) -> None:
    if families:
        said = f"A step does one thing, but this one has {' and '.join(families)}."
        document.report("step-family", (*path, families[1]), said, "Make two steps of it.", key=True)
    elif not any(reserved.is_reserved("step", k) and k in reserved.FAMILIES for k in raw):
        hint = f"Add one of: {', '.join(CONFIGS)}."
        document.report("step-family", path, "The step does not say what it does.", hint)


#: what holds no worker and waits: nobody is asked, and nothing is awaited, while a run is undone
_NO_UNDO = ("approval", "wait", "sleep", "call", "route", "job")


def _read_undo(document: Document, shape: Shape, path: Path, raw: dict[str, Json]) -> UndoDoc | None:
    """None where there is none, or where it is wrong (which is then reported)."""
    given = raw.get("compensate")
    if not isinstance(given, dict):
        return None
    here = (*path, "compensate")
    families = [k for k in given if k in CONFIGS]
    own = {k: v for k, v in given.items() if k not in CONFIGS}
    model = shape.check(UndoModel, own, here, "compensate", also=tuple(CONFIGS))
    waits = next((k for k in families if k in _NO_UNDO), None)
    if len(families) != 1:
        if model is not None:
            hint = "Write `compensate: {http: {…}}`."
            document.report("step-family", here, "What undoes a step is exactly one action.", hint)
        return None
    if waits:
        said = f"A {waits} undoes nothing: while a run is undone nobody is asked and nothing is waited for."
        document.report("compensate-waits", (*here, waits), said, "Use http, function or kv.", key=True)
        return None
    config = reader_actions.read_config(shape, families[0], given[families[0]], (*here, families[0]))
    return UndoDoc(model, families[0], config) if model is not None and config is not None else None


def _read_trigger(document: Document, shape: Shape, index: int, raw: Json) -> None:
    path: Path = ("triggers", index)
    if not isinstance(raw, dict):
        return
    for key in raw:
        if key not in TRIGGERS:
            shape.unknown_key((*path, key), key, "trigger", tuple(TRIGGERS))
            return
    if len(raw) != 1:
        hint = "Write `- manual: {}`, `- webhook: {…}`, `- schedule: {…}` or `- event: {…}`, one entry a trigger."
        document.report("bad-value", path, "A trigger has exactly one kind.", hint)
        return
    kind, config = next(iter(raw.items()))
    config = {} if kind == "manual" and config is None else config
    model = shape.check(TRIGGERS[kind], config, (*path, kind), kind, also=())
    if model is not None:
        document.triggers.append(TriggerDoc(index, kind, model, config))
