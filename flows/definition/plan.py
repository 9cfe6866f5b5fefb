"""The compiled plan: what a release runs. Immutable, JSON-serialisable, checksummed.

A plan holds no source positions that matter for execution and no resolved values: config trees keep
their `${{ … }}` texts and are rendered per attempt. Durations are float seconds. Pure: stdlib only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Json = Any  # None | bool | int | float | str | list | dict with str keys

When = Literal["success", "failure", "always"]
OnItemError = Literal["fail", "continue"]


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


@dataclass(frozen=True, slots=True)
class Fallback:
    """Used when the attempts are spent: a value (`family is None`), or another action."""

    value: Json = None
    family: str | None = None
    config: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class StepPlan:
    id: str
    family: str  # "http", "approval", …
    config: Mapping[str, Json]  # the family's config as written, defaults not filled in
    needs: tuple[str, ...] = ()  # explicit or derived from list order
    condition: Json = None  # the `if`: an expression text, a bool, or None
    when: When = "success"
    timeout: float = 30.0  # one attempt, seconds
    retry: Retry = Retry()
    for_each: ForEach | None = None
    irreversible: bool = False
    fallback: Fallback | None = None
    protected_by: tuple[str, ...] = ()  # ids of the approval steps whose `protects` names this step


@dataclass(frozen=True, slots=True)
class Concurrency:
    key: Json = None  # an expression text or a literal; None: one key for the flow
    limit: int = 1
    on_conflict: Literal["queue"] = "queue"


@dataclass(frozen=True, slots=True)
class Trigger:
    kind: Literal["manual", "webhook"]
    name: str  # unique in the flow; "manual", or the webhook's name as in /hooks/<slug>/<name>
    config: Mapping[str, Json] = field(default_factory=dict)  # webhook: verify, secret, if, dedupe, input


@dataclass(frozen=True, slots=True)
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

    def step(self, step_id: str) -> StepPlan:
        """The step of that id. Raises KeyError."""
        for s in self.steps:
            if s.id == step_id:
                return s
        raise KeyError(step_id)

    def trigger(self, name: str) -> Trigger | None:
        return next((t for t in self.triggers if t.name == name), None)

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

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
        return cls(
            **rest,
            steps=steps,
            triggers=triggers,
            concurrency=Concurrency(**conc) if conc else None,
        )


def _step(data: Mapping[str, Json]) -> StepPlan:
    d = dict(data)
    for name in ("needs", "protected_by"):
        d[name] = tuple(d.get(name, ()))
    retry = dict(d.get("retry") or {})
    for name in ("on", "give_up_on"):
        retry[name] = tuple(retry.get(name, ()))
    d["retry"] = Retry(**retry)
    d["for_each"] = ForEach(**d["for_each"]) if d.get("for_each") else None
    d["fallback"] = Fallback(**d["fallback"]) if d.get("fallback") else None
    unknown = set(d) - {f.name for f in fields(StepPlan)}
    if unknown:
        raise TypeError(f"the plan has step keys this version does not know: {sorted(unknown)}")
    return StepPlan(**d)
