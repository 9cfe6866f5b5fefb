"""The compiled plan: what a release runs. Immutable, JSON-serialisable, checksummed.

A plan holds no source positions that matter for execution and no resolved values: config trees keep
their `${{ … }}` texts and are rendered per attempt. Durations are float seconds. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Final, Literal

from flows.definition import routing, waiting
from flows.definition.bindings import places_in

Json = Any  # None | bool | int | float | str | list | dict with str keys

When = Literal["success", "failure", "always"]
OnItemError = Literal["fail", "continue"]
OnConflict = Literal["queue", "skip", "cancel_running", "fail"]
OnNewRelease = Literal["coexist", "drain", "supersede"]
Effect = Literal["none", "idempotent", "once"]
End = Literal["cancel", "failure", "deadline"]

#: behind a step's id: the step that undoes it. No id of an author's may have it.
UNDO: Final = "~"
#: seconds a run may take where its flow says nothing
DEFAULT_DEADLINE: Final = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry policy of one pass. `max_attempts` counts the first attempt too."""

    max_attempts: int = 3
    initial: float = 1.0
    factor: float = 2.0
    max: float = 60.0
    jitter: Literal["full", "none"] = "full"
    window: float | None = None  # seconds from the pass's first attempt; no retry starts after it
    on: tuple[str, ...] = ()  # error classes to retry; empty: all retryable ones
    give_up_on: tuple[str, ...] = ()  # error classes that are terminal here


@dataclass(frozen=True, slots=True)
class ForEach:
    items: Json  # an expression text "${{ … }}" or a literal list
    max_parallel: int | None = None
    on_item_error: OnItemError = "fail"
    batch: int | None = None  # items of one step run: `item` is then a list of at most so many
    key: Json = None  # an expression text: items with the same value run one after the other, in order


@dataclass(frozen=True, slots=True)
class Fallback:
    """Used when the attempts are spent: a value (`family is None`), another action, or the last good output."""

    value: Json = None
    family: str | None = None
    config: Mapping[str, Json] | None = None
    last_good: bool = False
    on: tuple[str, ...] = ()  # error classes it stands in for; empty: all it may


@dataclass(frozen=True, slots=True)
class Handler:
    """What a missed time leads to: failure, a value as the step's output, these steps, or (of a run) its undoing."""

    kind: Literal["fail", "value", "steps", "compensate"] = "fail"
    value: Json = None
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undo:
    """The action that undoes a step."""

    family: str
    config: Mapping[str, Json]
    timeout: float = 30.0
    retry: Retry = Retry()


@dataclass(frozen=True, slots=True)
class Until:
    """Repeat the step until `condition` holds of its output; each round is a pass of its own."""

    condition: Json  # an expression text, with `output` of the round in scope as steps.<id>.output
    every: float = 10.0  # seconds between the end of a round and the start of the next
    max_rounds: int = 1000


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """Asked before an attempt whose predecessor's outcome is not known: did it happen after all?"""

    family: str
    config: Mapping[str, Json]
    condition: Json  # an expression text over `check` (the action's output): true means it happened
    output: Json = None  # an expression text or value: the step's output then


@dataclass(frozen=True, slots=True)
class Check:
    """A contract in one expression, and what to say when it does not hold."""

    condition: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class StepPlan:
    id: str
    family: str  # "http", "approval", …
    config: Mapping[str, Json]  # the family's config as written, defaults not filled in
    needs: tuple[str, ...] = ()  # explicit or derived from list order
    condition: Json = None  # the `if`: an expression text, a bool, or None
    when: When = "success"
    failure_of: tuple[str, ...] = ()  # with `when: failure`: only after one of these error classes
    timeout: float = 30.0  # one attempt, seconds
    retry: Retry = Retry()
    for_each: ForEach | None = None
    irreversible: bool = False
    fallback: Fallback | None = None
    protected_by: tuple[str, ...] = ()  # ids of the approval steps whose `protects` names this step
    join: int | None = None  # how many of the needs must succeed; None: all
    deadline: float | None = None  # seconds from the first attempt of a pass: all attempts, waits and rounds
    sla: float | None = None  # seconds from when it became ready; only alerts
    stall_after: float | None = None  # seconds without progress reported by a running attempt
    on_timeout: Handler | None = None  # an attempt's time was up, and no retry is left
    on_deadline: Handler | None = None
    on_sla: Handler | None = None
    on_stall: Handler | None = None
    until: Until | None = None
    compensate: Undo | None = None
    effect: Effect | None = None  # declared; None: what the family knows
    already_done: AlreadyDone | None = None
    output_schema: Mapping[str, Json] | None = None
    requires: tuple[Check, ...] = ()  # before an attempt
    ensures: tuple[Check, ...] = ()  # after it
    priority: int | None = None  # None: the flow's
    queue: str | None = None  # None: the flow's
    handler: bool = False  # named by an on_…: runs only when that calls it


@dataclass(frozen=True, slots=True)
class Concurrency:
    key: Json = None  # an expression text or a literal; None: one key for the flow
    limit: int = 1
    on_conflict: OnConflict = "queue"


@dataclass(frozen=True, slots=True)
class Budget:
    """What the language models of one run may use: tokens in and out, US dollars. None: no bound."""

    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    kind: str  # manual | webhook | schedule
    name: str  # unique in the flow; "manual", a schedule's, or a webhook's as in /hooks/<slug>/<name>
    config: Mapping[str, Json] = field(default_factory=dict)  # as written, without `name`


@dataclass(frozen=True)
class Plan:
    language: int
    flow: str
    title: str
    steps: tuple[StepPlan, ...]
    folder: str = ""
    owner: str = ""
    description: str = ""
    runbook: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    input_schema: Mapping[str, Json] = field(default_factory=dict)
    output: Json = None  # a tree with expressions, or None
    concurrency: Concurrency | None = None
    triggers: tuple[Trigger, ...] = ()
    deadline: float | None = None  # seconds from the start; None: DEFAULT_DEADLINE
    on_deadline: Handler | None = None
    sla: float | None = None
    on_sla: Handler | None = None
    compensate_on: tuple[End, ...] = ("cancel",)
    max_queued: int | None = None
    priority: int = 0  # -10 … 10, higher is sooner
    queue: str = "default"
    on_new_release: OnNewRelease = "coexist"
    budget: Budget | None = None
    vars: Mapping[str, Json] | None = None  # JSON Schema by name; None: it reads none

    @cached_property
    def has_handlers(self) -> bool:
        return any(s.handler for s in self.steps)

    @cached_property
    def _by_id(self) -> dict[str, StepPlan]:
        undoing = {s.id + UNDO: _undo_of(s, s.compensate) for s in self.steps if s.compensate is not None}
        return {s.id: s for s in self.steps} | undoing

    @cached_property
    def lines(self) -> tuple[tuple[StepPlan, tuple[str, int], tuple[tuple[str, int], ...]], ...]:
        """(step, its key in a run's state, the keys of what it needs or is protected by), in order; item -1: itself."""
        return tuple((s, (s.id, -1), tuple((n, -1) for n in (*s.needs, *s.protected_by))) for s in self.steps)

    @cached_property
    def callbacks(self) -> tuple[str, ...]:
        """The steps that wait for a callback, and so have a URL."""
        return tuple(s.id for s in self.steps if s.family == waiting.FAMILY and waiting.callback_of(s.config))

    @cached_property
    def dependents(self) -> dict[str, tuple[StepPlan, ...]]:
        """Step id -> the steps that need it, directly."""
        found: dict[str, list[StepPlan]] = {s.id: [] for s in self.steps}
        for step in self.steps:
            for need in step.needs:
                found[need].append(step)
        return {step: tuple(users) for step, users in found.items()}

    @cached_property
    def joins(self) -> tuple[StepPlan, ...]:
        """The steps that open before all they need have ended."""
        return tuple(s for s in self.steps if s.join is not None)

    @cached_property
    def routed_by(self) -> dict[str, tuple[StepPlan, ...]]:
        """Step id -> the route steps that name it in some rule: it runs only where each of them chose it."""
        found: dict[str, list[StepPlan]] = {}
        for step in self.steps:
            for target in routing.targets(step.config) if step.family == routing.FAMILY else ():
                found.setdefault(target, []).append(step)
        return {step: tuple(routes) for step, routes in found.items()}

    @cached_property
    def connections(self) -> frozenset[str]:
        """Every connection its steps may use, with their fallbacks, compensations and checks."""
        parts = [p for s in self.steps for p in (s, s.fallback, s.compensate, s.already_done) if p is not None]
        configs: list[Json] = [p.config for p in parts]
        tools = [t for s in self.steps if s.family == "llm" for t in s.config.get("tools", ())]
        configs += [config for t in tools for config in t["do"].values()]
        return frozenset(name for config in configs for _, name in places_in(config) if isinstance(name, str))

    def step(self, step_id: str) -> StepPlan:
        """The step of that id; `<id>~` is the one that undoes it. Raises KeyError."""
        return self._by_id[step_id]

    def trigger(self, name: str) -> Trigger | None:
        return next((t for t in self.triggers if t.name == name), None)

    def to_json(self) -> dict[str, Json]:
        """What the language got later is left out where a flow does not use it: old releases keep their checksum."""
        data = _lean(asdict(self), Plan)
        data["steps"] = [_lean(s, StepPlan) for s in data["steps"]]
        for step in data["steps"]:
            step["for_each"] = _lean(step["for_each"], ForEach) if step["for_each"] else None
            step["fallback"] = _lean(step["fallback"], Fallback) if step["fallback"] else None
        return data

    def canonical(self) -> str:
        """One text per meaning: sorted keys, no spaces. What the checksum is taken of."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Plan:
        """Read a stored plan. Unknown keys are refused, missing ones take this version's default,
        so newer code runs older plans and never the other way round. Raises TypeError."""
        steps = tuple(_step(s) for s in data["steps"])
        triggers = tuple(Trigger(**t) for t in data.get("triggers", ()))
        conc = data.get("concurrency")
        rest = {k: v for k, v in data.items() if k not in {"steps", "triggers", "concurrency"}}
        for name in ("on_deadline", "on_sla"):
            rest[name] = _handler(rest.get(name))
        rest["budget"] = Budget(**rest["budget"]) if rest.get("budget") else None
        rest["compensate_on"] = tuple(rest.get("compensate_on", ("cancel",)))
        return cls(
            **rest,
            steps=steps,
            triggers=triggers,
            concurrency=Concurrency(**conc) if conc else None,
        )


#: fields that plans of the first version did not have
_LATER: Final = frozenset(
    {
        "batch", "key", "last_good", "join", "deadline", "sla", "stall_after", "on_timeout", "on_deadline", "on_sla",
        "on_stall", "until", "compensate", "effect", "already_done", "output_schema", "requires", "ensures", "priority",
        "queue", "handler", "failure_of", "on", "compensate_on", "max_queued", "on_new_release", "budget", "vars",
    }
)  # fmt: skip


def _lean(data: dict[str, Json], cls: type[Any]) -> dict[str, Json]:
    defaults = {f.name: f.default for f in fields(cls)}
    return {k: v for k, v in data.items() if k not in _LATER or v != defaults[k]}


def _undo_of(step: StepPlan, undo: Undo) -> StepPlan:
    return StepPlan(
        id=step.id + UNDO, family=undo.family, config=undo.config, timeout=undo.timeout, retry=undo.retry,
        priority=step.priority, queue=step.queue,
    )  # fmt: skip


def _retry(data: Mapping[str, Json] | None) -> Retry:
    retry = dict(data or {})
    for name in ("on", "give_up_on"):
        retry[name] = tuple(retry.get(name, ()))
    return Retry(**retry)


def _handler(data: Mapping[str, Json] | None) -> Handler | None:
    return Handler(**{**data, "steps": tuple(data.get("steps", ()))}) if data else None


def _undo(data: Mapping[str, Json] | None) -> Undo | None:
    return Undo(**{**data, "retry": _retry(data.get("retry"))}) if data else None


def _step(data: Mapping[str, Json]) -> StepPlan:
    unknown = set(data) - {f.name for f in fields(StepPlan)}
    if unknown:
        raise TypeError(f"the plan has step keys this version does not know: {sorted(unknown)}")
    d = dict(data)
    for name in ("needs", "protected_by", "failure_of"):
        d[name] = tuple(d.get(name, ()))
    for name in ("requires", "ensures"):
        d[name] = tuple(Check(**c) for c in d.get(name, ()))
    for name in ("on_timeout", "on_deadline", "on_sla", "on_stall"):
        d[name] = _handler(d.get(name))
    for name, kind in (("for_each", ForEach), ("fallback", Fallback), ("until", Until), ("already_done", AlreadyDone)):
        d[name] = kind(**d[name]) if d.get(name) else None
    if d["fallback"] is not None:
        d["fallback"] = replace(d["fallback"], on=tuple(d["fallback"].on))
    d["retry"] = _retry(d.get("retry"))
    d["compensate"] = _undo(d.get("compensate"))
    return StepPlan(**d)
