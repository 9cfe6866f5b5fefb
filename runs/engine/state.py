"""The state of one run as the pure core sees it. Immutable values; times are epoch seconds (floats)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from flows.definition.plan import UNDO

Json = Any
Key = tuple[str, int]  # step id, item; NO_ITEM for a step that is not an item of a fan-out

NO_ITEM: Final = -1

PENDING: Final = "pending"
READY: Final = "ready"
RUNNING: Final = "running"
FANNED: Final = "fanned"
BACKOFF: Final = "backoff"
WAITING: Final = "waiting"
HANDLING: Final = "handling"  # its time was missed; the steps that see to it run, then it fails
UNKNOWN: Final = "unknown"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
CANCELLED: Final = "cancelled"

#: the reason of a step that a join went on without
LOST: Final = "join"
#: nothing more will happen to the step by itself
SETTLED: Final = frozenset({SUCCEEDED, FAILED, SKIPPED, CANCELLED, UNKNOWN})
#: a worker may take it once its time has come
CLAIMABLE: Final = frozenset({READY, BACKOFF})

RUN_ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
#: nothing new starts
RUN_HELD: Final = frozenset({"queued", "pausing", "paused", "cancelling"}) | RUN_ENDED


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one run, or one item of its fan-out."""

    id: str
    item: int = NO_ITEM
    status: str = PENDING
    pass_no: int = 1
    attempt: int = 0  # attempts ever started: the fence of the one that runs
    tries: int = 0  # attempts started in this pass (and of its fallback, once that took over)
    lost: int = 0  # attempts lost in a row
    first_at: float | None = None  # when this pass's first attempt started
    started_at: float | None = None
    ended_at: float | None = None
    wake_at: float | None = None  # READY and BACKOFF: not before
    output: Json = None
    error: Mapping[str, Json] | None = None  # {class, message, details}
    reason: str = ""  # of a skip: if | when | needs | approval | route | key; "join": its result comes too late
    fallback: bool = False  # its fallback action has taken over
    wait: Mapping[str, Json] | None = None  # WAITING: {kind, until, spec}; an approval's spec names its actions
    granted: Mapping[str, Json] | None = None  # an approval that said yes: {"<step>:<item>": action with digest}
    items: tuple[Json, ...] | None = None  # FANNED: what is fanned over
    opened: int = 0  # FANNED: how many items were opened so far
    order: int = 0  # of a step that can be undone: the how-manieth of them to have ended; undoing goes backwards
    acted: bool = False  # an attempt (or an earlier pass) acted, or may have, without this pass's result saying so
    round_no: int = 0  # rounds of an `until` that ended without it
    checkpoint: Json = None  # what the last attempt left for the next
    progress: Mapping[str, Json] | None = None  # of the running attempt: {at, message, percent}
    stopping: str = ""  # RUNNING: why the attempt was asked to stop: deadline | sla | cancelled | …
    late: bool = False  # its sla was missed
    calling: str = ""  # the handler step that runs for it now
    calls: tuple[str, ...] = ()  # handler steps still to run for it
    previous_digest: str = ""  # of an approval asked again: what was agreed to before
    keys: tuple[str, ...] | None = None  # FANNED: of each item, what orders it among the others
    load: Mapping[str, Json] | None = None  # the resource that holds what is to be fanned over
    doubt: Mapping[str, Json] | None = None  # its next attempt asks whether the last one happened: see doubt.py
    stale: Mapping[str, Json] | None = None  # its output is an earlier run's: {run, at, age}

    @property
    def key(self) -> Key:
        return (self.id, self.item)

    @property
    def agreed_digest(self) -> str:
        """Of an approval: what people last agreed to, in this pass or before; "" if they never did."""
        agreed = self.granted is not None and isinstance(self.output, dict)
        return str(self.output.get("digest", "")) if agreed else self.previous_digest

    @property
    def settled(self) -> bool:
        return self.status in SETTLED


@dataclass(frozen=True, slots=True)
class State:
    """One run. `steps` lacks those that were never reached: they are pending."""

    run_id: str
    status: str = "queued"
    version: int = 0
    seq: int = 0
    input: Json = None
    trigger: Json = None
    steps: Mapping[Key, Step] = field(default_factory=dict)
    output: Json = None
    error: Mapping[str, Json] | None = None
    paused: Mapping[str, Json] | None = None  # {actor, reason, at}
    cancel: Mapping[str, Json] | None = None  # {actor, reason, at}
    ending: Mapping[str, Json] | None = None  # what the run is coming to: see runs/engine/ending.py
    degraded: bool = False  # a fallback stood in for a step
    times: Mapping[str, Json] | None = None  # {since: of a reopened run, late: its sla was missed at, calling, calls}
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None

    def step(self, step_id: str, item: int = NO_ITEM) -> Step:
        return self.steps.get((step_id, item)) or pending(step_id, item)

    @property
    def ended(self) -> bool:
        return self.status in RUN_ENDED

    def with_step(self, step: Step) -> State:
        return state_with(self, {"steps": {**self.steps, step.key: step}})


@lru_cache(maxsize=4096)
def pending(step_id: str, item: int = NO_ITEM) -> Step:
    """A step that was not reached yet."""
    return Step(step_id, item)


# dataclasses.replace, which every decision needs several times, at a third of its cost
_STEP_NAMES: Final = tuple(f.name for f in fields(Step))
_STEP_PLACES: Final = {name: place for place, name in enumerate(_STEP_NAMES)}
_STEP_VALUES: Final = attrgetter(*_STEP_NAMES)
_STATE_NAMES: Final = tuple(f.name for f in fields(State))
_STATE_PLACES: Final = {name: place for place, name in enumerate(_STATE_NAMES)}
_STATE_VALUES: Final = attrgetter(*_STATE_NAMES)


def step_with(step: Step, changes: Mapping[str, Any]) -> Step:
    """A copy with these fields changed. Raises KeyError for a name that is no field."""
    values = list(_STEP_VALUES(step))
    for name, value in changes.items():
        values[_STEP_PLACES[name]] = value
    return Step(*values)


def state_with(state: State, changes: Mapping[str, Any]) -> State:
    """A copy with these fields changed. Raises KeyError for a name that is no field."""
    values = list(_STATE_VALUES(state))
    for name, value in changes.items():
        values[_STATE_PLACES[name]] = value
    return State(*values)


def idempotency_key(run_id: str, step: Step) -> str:
    """`<run>:<step>[:<item>]:<pass>[:undo][:check]`, the same for every attempt of a pass (rule 2 of the design)."""
    item = "" if step.item == NO_ITEM else f":{step.item}"
    undo = ":undo" if step.id.endswith(UNDO) else ""
    check = ":check" if step.doubt is not None else ""  # a question is no repeat of what it asks about
    return f"{run_id}:{step.id.removesuffix(UNDO)}{item}:{step.pass_no}{undo}{check}"


def entry_of(step: Step) -> dict[str, Json]:
    """What `steps.<id>` shows."""
    return {
        "output": step.output,
        "status": step.status,
        "error": dict(step.error) if step.error else None,
        "attempts": step.attempt,
        "stale": step.stale is not None,
        "age": step.stale["age"] if step.stale is not None else None,
    }


#: the key in a run's trigger under which its start froze the values of variables
VARS: Final = "vars"


def scope_of(
    state: State,
    *,
    item: Json = None,
    item_index: int | None = None,
    urls: Mapping[str, str] | None = None,
    own: Step | None = None,
) -> dict[str, Json]:
    """What expressions may name. Every value is JSON; the same state gives the same scope.

    `own`: an item whose undoing is worked out: `steps.<id>` is then that item, not its whole fan-out."""
    steps: dict[str, Json] = {}
    for (step_id, index), s in state.steps.items():
        if index == NO_ITEM and not step_id.endswith(UNDO):
            steps[step_id] = entry_of(s)
    if own is not None:
        steps[own.id] = entry_of(own)
    for step_id, url in (urls or {}).items():
        steps.setdefault(step_id, entry_of(Step(step_id)))["url"] = url
    kept = state.trigger.get(VARS)
    scope = {
        "input": state.input,
        "trigger": {name: value for name, value in state.trigger.items() if name != VARS} if kept else state.trigger,
        "run": {"id": state.run_id, "started_at": state.started_at},
        "vars": kept or {},
        "steps": steps,
    }
    if item_index is not None:
        scope |= {"item": item, "item_index": item_index}
    return scope
