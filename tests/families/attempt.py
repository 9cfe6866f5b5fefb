"""One attempt of one step as the engine makes it: resolve, execute, mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flows.definition.plan import Plan, StepPlan
from flows.resolve import resolve_action
from flows.steps.base import Action, Done, Fail, Outcome, Retry, StepContext, Wait
from flows.steps.registry import family
from resources.masking import Masker
from runs.search import in_steps

Json = Any
KEY = "01run:step:1"
NOW = 1_800_000_000.0


def plan_of(*steps: StepPlan) -> Plan:
    return Plan(language=1, flow="release-service", title="Release", steps=steps)


@dataclass
class Attempt:
    """`outcome` as the family gave it, `stored` and `log` as they would be kept: masked."""

    action: Action
    outcome: Outcome
    stored: Json
    log: list[str]
    masked: list[str] = field(default_factory=list)


def resolve(name: str, config: Json, scope: dict[str, Json] | None = None) -> Action:
    return resolve_action("step", name, config, scope or {})


def attempt(
    name: str, config: Json, scope: dict[str, Json] | None = None, *, action: Action | None = None, **known: Any
) -> Attempt:
    """Run one attempt; `known` overrides what StepContext says."""
    action = action or resolve(name, config, scope)
    log: list[str] = []
    masked: list[str] = []
    fields: dict[str, Any] = {
        "run_id": "01run", "flow": "release-service", "step": "step", "item": None, "pass_no": 1, "attempt": 1,
        "key": KEY, "timeout": 10.0, "now": NOW, "seed": 7, "log": log.append, "mask": masked.append,
        "masked": lambda value: Masker(masked).tree(value),
        "search": partial(in_steps.search, "release-service", ""), "resolve": lambda step: [],
        "callback_url": lambda step: f"https://orchestra.test/callbacks/{step}",
    }  # fmt: skip
    outcome = family(name).execute(StepContext(action=action, **{**fields, **known}))
    masker = Masker(masked)
    return Attempt(action, outcome, masker.tree(as_json(outcome)), [masker.text(line) for line in log], masked)


def as_json(outcome: Outcome) -> Json:
    """What the engine keeps of an outcome."""
    match outcome:
        case Done(output):
            return {"output": output}
        case Wait(kind, timeout, until, spec):
            return {"kind": kind, "timeout": timeout, "until": until, "spec": dict(spec)}
        case Retry(error) | Fail(error):
            return {"class": error.cls, "message": error.message, "details": error.details}


def output(attempted: Attempt) -> Json:
    assert isinstance(attempted.outcome, Done), attempted.outcome
    return attempted.outcome.output


def error(attempted: Attempt) -> str:
    """The error class of a failed attempt."""
    assert isinstance(attempted.outcome, (Retry, Fail)), attempted.outcome
    return attempted.outcome.error.cls
