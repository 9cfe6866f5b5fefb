"""Rows <-> state. What has a column of its own is not repeated in a step's `state` JSON."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from runs.engine.state import State, Step

Json = Any

#: the fields of a Step kept in StepRun.state, left out at their default
_EXTRA: Final = (
    "tries", "lost", "first_at", "wake_at", "error", "reason", "fallback", "wait", "granted", "items", "opened",
    "order", "acted", "round_no", "checkpoint", "progress", "keys", "load", "doubt", "stale", "stopping", "late",
    "calling", "calls", "previous_digest",
)  # fmt: skip
_VALUES: Final = attrgetter(*_EXTRA)
_DEFAULTS: Final = _VALUES(Step(""))


def step_extra(step: Step) -> dict[str, Json]:
    return {
        name: value
        for name, value, default in zip(_EXTRA, _VALUES(step), _DEFAULTS, strict=True)
        if value is not default and value != default
    }


def step_of(
    step: str,
    item: int,
    status: str,
    pass_no: int,
    attempt: int,
    extra: dict[str, Json],
    output: Json,
    started_at: float | None,
    ended_at: float | None,
) -> Step:
    for name in ("items", "keys", "calls"):
        if extra.get(name) is not None:
            extra = {**extra, name: tuple(extra[name])}
    return Step(
        id=step,
        item=item,
        status=status,
        pass_no=pass_no,
        attempt=attempt,
        output=output,
        started_at=started_at,
        ended_at=ended_at,
        **extra,
    )


def control_of(state: State) -> dict[str, Json]:
    """Run.control: what people asked of the run, and whether a fallback stood in."""
    control: dict[str, Json] = {}
    if state.paused is not None:
        control["paused"] = dict(state.paused)
    if state.cancel is not None:
        control["cancel"] = dict(state.cancel)
    if state.ending is not None:
        control["ending"] = dict(state.ending)
    if state.degraded:
        control["degraded"] = True
    if state.times is not None:
        control["times"] = dict(state.times)
    return control


#: ends of a run that gave up
_DEAD: Final = frozenset({"failed", "timed_out"})


def error_class(error: Json) -> str:
    """What a run's error is found by; "" without one."""
    return str(error.get("class", ""))[:64] if isinstance(error, dict) else ""


def dead_at(state: State) -> float | None:
    """When the run became a dead letter, epoch seconds; None for one that is none."""
    return state.ended_at if state.status in _DEAD else None
