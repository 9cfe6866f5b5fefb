"""What can happen to a run. Each input is recorded as an event and can be read back, so a run folds again.

`encode` gives flat JSON; the time is the event's own, the random number travels in the input that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runs.engine.state import NO_ITEM

Json = Any


@dataclass(frozen=True, slots=True)
class Started:
    """The run has its place and begins."""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A worker took the step. `digests`: of a protected step, {approval id: digest of the action it will run}."""

    step: str
    item: int = NO_ITEM
    worker: str = ""
    digests: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """What a family's `execute` came to. `outcome`: done | retry | fail | wait, or items: `output` is what to fan over.

    `attempt` is the fence: the result of an attempt that is not the running one changes nothing.
    `repeatable`: the same key may be sent again without a second effect.
    `rand`: in [0, 1), for jitter. `checked`: the contract was looked at on an output too large for the state, and
    `breach` is what was found.
    `stale`: the output is the last good one of an earlier run: {run, at, age in seconds}.
    """

    step: str
    item: int
    attempt: int
    outcome: str
    output: Json = None
    error: Mapping[str, Json] | None = None
    after: float | None = None
    acted: bool = True
    repeatable: bool = True
    wait: Mapping[str, Json] | None = None  # {kind, timeout, until, spec}
    rand: float = 0.0
    checkpoint: Json = None  # the last one the attempt left
    breach: Mapping[str, Json] | None = None
    checked: bool = False
    stale: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class AttemptLost:
    """The lease of the running attempt is over and nobody answered for it.

    `handed_back`: its worker stops in good order and leaves it to others; only of what may be repeated.
    """

    step: str
    item: int
    attempt: int
    repeatable: bool = True
    checkpoint: Json = None  # the last one it left
    handed_back: bool = False


@dataclass(frozen=True, slots=True)
class ActionChanged:
    """At dispatch, what a protected step would do is not what was approved: ask again."""

    step: str
    item: int
    approval: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The step's next attempt may not even wait for its connection: a circuit breaker is open. Nothing was sent."""

    step: str
    item: int
    error: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The first signal to a step's wait of this pass. `checked`, `breach`: as of AttemptEnded.

    `used`: the row of the named event that it is. `rand`: in [0, 1), for jitter where it leads to another attempt.
    """

    step: str
    item: int
    pass_no: int
    payload: Json = None
    breach: Mapping[str, Json] | None = None
    checked: bool = False
    used: int | None = None
    rand: float = 0.0


@dataclass(frozen=True, slots=True)
class TimeUp:
    """A wait's timer is due."""

    step: str
    item: int
    pass_no: int


@dataclass(frozen=True, slots=True)
class TimerDue:
    """A timer of a step run (of the run: `step` "") is due, by SetTimer's name; a wait's own is TimeUp's."""

    step: str = ""
    item: int = NO_ITEM
    name: str = ""


@dataclass(frozen=True, slots=True)
class OutputKept:
    """An output the core put together is a resource now, since it is large; `step` "" for the run's own."""

    step: str = ""
    item: int = NO_ITEM
    ref: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class PauseRequested:
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TerminateRequested:
    """End at once: nothing is waited for, nothing undone."""

    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The run broke its workers again and again (a bug of ours): it fails here and now."""


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """A run that gave up tries its failed steps again, in the same pass."""

    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryFromRequested:
    """A run that gave up does a step and all that depends on it once more, in a new pass."""

    step: str
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SkipRequested:
    """A failed step is passed over."""

    step: str
    item: int = NO_ITEM
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CompleteRequested:
    """A person did, or found done, what the step failed to do."""

    step: str
    item: int = NO_ITEM
    output: Json = None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutcomeSaid:
    """What became of a step whose outcome is unknown. `outcome`: done | not_done | again."""

    step: str
    item: int = NO_ITEM
    outcome: str = ""
    output: Json = None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Forked:
    """The run goes on from `step` of another one. `kept`: [{step, status, output, error, reason, attempt}] of it."""

    step: str
    of: str = ""
    kept: Json = None
    actor: str = ""
    reason: str = ""


Input = (
    Started
    | AttemptStarted
    | AttemptEnded
    | AttemptLost
    | ActionChanged
    | TurnedAway
    | Answered
    | TimeUp
    | TimerDue
    | OutputKept
    | PauseRequested
    | Resumed
    | CancelRequested
    | TerminateRequested
    | GivenUp
    | RetryRequested
    | RetryFromRequested
    | SkipRequested
    | CompleteRequested
    | OutcomeSaid
    | Forked
)

_KINDS: Final[dict[str, type[Any]]] = {
    "started": Started,
    "attempt": AttemptStarted,
    "ended": AttemptEnded,
    "lost": AttemptLost,
    "changed": ActionChanged,
    "turned_away": TurnedAway,
    "answered": Answered,
    "time_up": TimeUp,
    "timer": TimerDue,
    "kept": OutputKept,
    "pause": PauseRequested,
    "resume": Resumed,
    "cancel": CancelRequested,
    "terminate": TerminateRequested,
    "given_up": GivenUp,
    "retry": RetryRequested,
    "retry_from": RetryFromRequested,
    "skip": SkipRequested,
    "complete": CompleteRequested,
    "outcome": OutcomeSaid,
    "fork": Forked,
}
_NAMES: Final = {cls: name for name, cls in _KINDS.items()}
_OWN_COLUMNS: Final = frozenset({"step", "item", "actor"})  # the event row has them already


def encode(given: Input) -> dict[str, Json]:
    """Flat JSON of an input without what the event row says itself; values at their default are left out."""
    data: dict[str, Json] = {"k": _NAMES[type(given)]}
    for name, known in type(given).__dataclass_fields__.items():
        value = getattr(given, name)
        if name not in _OWN_COLUMNS and value != known.default:
            data[name] = value
    return data


def decode(data: Mapping[str, Json], *, step: str, item: int, actor: str) -> Input:
    """The input of a recorded event. Raises KeyError for a kind this version does not know."""
    cls = _KINDS[data["k"]]
    known = cls.__dataclass_fields__
    own = {"step": step, "item": item, "actor": actor}
    values = {k: v for k, v in {**data, **own}.items() if k in known}
    decoded: Input = cls(**values)
    return decoded
