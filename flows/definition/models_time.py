"""Keys of business time: deadlines, alerts, what follows when a time is missed, and polling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flows.steps.fields import Config, Duration, Json, StepId, Templated, TJson

MAX_HANDLERS = 10
Time = Annotated[Duration, Field(gt=0)]


class Instead(Config):
    """The step succeeds with this value, and the run is marked as degraded."""

    value: TJson = Field(description="the step's output instead; expressions may read the step's own error")


class HandlerSteps(Config):
    """These steps run, one after the other, and only then."""

    steps: Annotated[list[StepId], Field(min_length=1, max_length=MAX_HANDLERS)] = Field(
        description=f"ids of steps that run only when called, in this order; {MAX_HANDLERS} at most"
    )


OnMissed = Literal["fail"] | Instead | HandlerSteps
OnRunMissed = Literal["fail", "compensate"] | HandlerSteps


class UntilModel(Config):
    """Repeats the step until its condition holds; each round is a pass of its own."""

    condition: Annotated[str, Templated()] = Field(description="an expression over the step's own output")
    every: Duration = Field(default=10.0, description="from the end of a round to the start of the next")
    max_rounds: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="rounds in all; the step fails when the last did not do"
    )


class StepTimes(Config):
    """The times of a step."""

    deadline: Time | None = Field(
        default=None, description="time limit from the first attempt: all attempts, waits and rounds"
    )
    sla: Time | None = Field(default=None, description="time from when it is ready after which people are alerted")
    stall_after: Time | None = Field(
        default=None, description="an attempt that reports no progress for so long is stopped"
    )
    on_timeout: OnMissed | None = Field(
        default=None,
        description="what follows when no attempt (or nobody, of a wait) was in time: fail, {value: …}, {steps: […]}",
    )
    on_deadline: OnMissed | None = Field(
        default=None, description="what follows when the deadline was missed: fail, {value: …} or {steps: […]}"
    )
    on_sla: OnMissed | None = Field(
        default=None, description="beside the alert: {steps: […]} to escalate; fail and {value: …} end the step"
    )
    on_stall: OnMissed | None = Field(
        default=None, description="what follows when the last attempt stalled: fail, {value: …} or {steps: […]}"
    )
    until: Annotated[str, Templated()] | UntilModel | None = Field(
        default=None, description="repeat the step until this expression over its own output holds"
    )


class FlowTimes(Config):
    """The times of a run."""

    deadline: Time | None = Field(default=None, description="time limit of a run from its start; else 30 days")
    on_deadline: OnRunMissed | None = Field(
        default=None, description="what follows when a run missed it: fail, compensate or {steps: […]}"
    )
    sla: Time | None = Field(default=None, description="time from a run's start after which people are alerted")
    on_sla: OnRunMissed | None = Field(
        default=None, description="beside the alert: {steps: […]} to escalate; fail and compensate end the run"
    )


#: the keys that may call handler steps
CALLING = ("on_timeout", "on_deadline", "on_sla", "on_stall")


def called(tree: Json) -> list[str]:
    """The ids of the handler steps that a flow or a step as written names; wrong shapes name none."""
    if not isinstance(tree, dict):
        return []
    trees = [tree[key].get("steps") for key in CALLING if isinstance(tree.get(key), dict)]
    return [name for names in trees if isinstance(names, list) for name in names if isinstance(name, str)]
