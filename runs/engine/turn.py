"""One decision in the making: a working copy of the state, and what follows from it.

Pure: a Turn is made, filled and frozen within one call of `decide`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.definition.plan import UNDO, Plan, StepPlan
from runs.engine.state import (
    CANCELLED,
    NO_ITEM,
    PENDING,
    SKIPPED,
    Key,
    State,
    Step,
    pending,
    scope_of,
    state_with,
    step_with,
)

Json = Any


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Workers may take the step from `at` on."""

    step: str
    item: int
    at: float


@dataclass(frozen=True, slots=True)
class Dequeue:
    """Take the step (and its timers) off the queue."""

    step: str
    item: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Tell the core at `at` that this time has come. One of a name for each step run; `step` "" for the run itself.

    Gone with Dequeue of its step, and with the run."""

    step: str
    item: int
    name: str
    at: float


@dataclass(frozen=True, slots=True)
class ClearTimer:
    step: str
    item: int
    name: str


@dataclass(frozen=True, slots=True)
class OpenWait:
    step: str
    item: int
    pass_no: int
    kind: str
    until: float | None
    spec: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class CloseWait:
    """reason: answered | expired | withdrawn | superseded. `used`: the named event that answered it."""

    step: str
    item: int
    pass_no: int
    reason: str
    used: int | None = None


@dataclass(frozen=True, slots=True)
class HoldWork:
    """Nothing unleased of this run may be claimed until ReleaseWork."""


@dataclass(frozen=True, slots=True)
class ReleaseWork:
    """Undo HoldWork."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Free the place of its concurrency key, close what is open."""


Command = Enqueue | Dequeue | SetTimer | ClearTimer | OpenWait | CloseWait | HoldWork | ReleaseWork | RunEnded


@dataclass(frozen=True, slots=True)
class Event:
    """One entry for the history. `cause`: it records the input itself; the others follow from it."""

    type: str
    step: str = ""
    item: int = NO_ITEM
    actor: str = ""
    data: Mapping[str, Json] = field(default_factory=dict)
    cause: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`accepted` is False where the input came too late or has no place: nothing changed."""

    state: State
    commands: tuple[Command, ...] = ()
    events: tuple[Event, ...] = ()
    changed: frozenset[Key] = frozenset()
    accepted: bool = True


class Turn:
    def __init__(
        self,
        plan: Plan,
        state: State,
        now: float,
        urls: Mapping[str, str] | None = None,
    ) -> None:
        self.plan = plan
        self.before = state
        self.now = now
        self.urls = urls or {}
        self.steps: dict[Key, Step] = dict(state.steps)
        self.run: dict[str, Any] = {}  # changed fields of State
        self.commands: list[Command] = []
        self.events: list[Event] = []
        self.changed: set[Key] = set()

    # -- reading -------------------------------------------------------------------------------------------
    def get(self, name: str) -> Any:
        """A field of the run as it is by now."""
        return self.run.get(name, getattr(self.before, name))

    def step(self, step_id: str, item: int = NO_ITEM) -> Step:
        return self.steps.get((step_id, item)) or pending(step_id, item)

    def items_of(self, parent: Step) -> list[Step]:
        """The opened items of a fan-out, in order."""
        steps, name = self.steps, parent.id
        return [steps.get((name, index)) or pending(name, index) for index in range(parent.opened)]

    def scope(self) -> dict[str, Json]:
        return scope_of(self._now(), urls=self.urls)

    def scope_of(self, step: Step) -> dict[str, Json]:
        """The scope of one step: with its item where it is one of a fan-out."""
        items = self.step(step.id).items
        if step.item == NO_ITEM or items is None:
            return self.scope()
        return scope_of(self._now(), item=items[step.item], item_index=step.item, urls=self.urls)

    def _now(self) -> State:
        return state_with(self.before, {"steps": self.steps})

    @property
    def ending(self) -> bool:
        """The run only comes to its end (runs/engine/ending.py)."""
        return self.get("ending") is not None or self.get("cancel") is not None

    def is_stopped(self, step: Step) -> bool:
        """Nothing further may come of this step: the run is ending, and the step is no part of how it ends."""
        if not self.ending or step.id.endswith(UNDO):
            return False
        ending = self.get("ending") or {}
        return ending.get("phase") != "handling" or step.id not in ending.get("steps", ())

    # -- writing -------------------------------------------------------------------------------------------
    def put(self, step: Step, **changes: Any) -> Step:
        if changes:
            step = step_with(step, changes)
        self.steps[step.key] = step
        self.changed.add(step.key)
        return step

    def set_run(self, **changes: Any) -> None:
        self.run.update(changes)

    def do(self, command: Command) -> None:
        self.commands.append(command)

    def tell(
        self,
        type_: str,
        step: Step | None = None,
        data: Mapping[str, Json] | None = None,
        actor: str = "",
    ) -> None:
        where = (step.id, step.item) if step else ("", NO_ITEM)
        self.events.append(Event(type_, *where, actor=actor, data=data or {}))

    def cause(
        self,
        type_: str,
        data: Mapping[str, Json],
        *,
        step: Step | None = None,
        actor: str = "",
    ) -> None:
        where = (step.id, step.item) if step else ("", NO_ITEM)
        self.events.append(Event(type_, *where, actor=actor, data=data, cause=True))

    # -- the step verbs every kind of input shares -----------------------------------------------------------
    def make_ready(self, step: Step, at: float, **changes: Any) -> Step:
        step = self.put(step, status="ready", wake_at=at, **changes)
        self.do(Enqueue(step.id, step.item, at))
        return step

    def settle(self, step: Step, status: str, **changes: Any) -> Step:
        """The step will do nothing more by itself. Its open wait, if any, is the caller's to close."""
        if self.plan_of(step).compensate is not None and (status not in {CANCELLED, SKIPPED} or not step.order):
            changes["order"] = 1 + max((s.order for s in self.steps.values()), default=0)
        step = self.put(step, status=status, ended_at=self.now, wake_at=None, wait=None, **changes)
        self.do(Dequeue(step.id, step.item))
        return step

    def back_to_pending(self, step: Step) -> Step:
        step = self.put(step, status=PENDING, wake_at=None)
        self.do(Dequeue(step.id, step.item))
        return step

    def plan_of(self, step: Step) -> StepPlan:
        return self.plan.step(step.id)

    # -- the end ---------------------------------------------------------------------------------------------
    def decision(self) -> Decision:
        state = state_with(self.before, {"steps": self.steps, **self.run})
        return Decision(state, tuple(self.commands), tuple(self.events), frozenset(self.changed))

    def refused(self) -> Decision:
        return Decision(self.before, accepted=False)
