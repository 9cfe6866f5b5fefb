"""What passes between a slice and those that commit for it. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runs import store
from runs.engine.state import Key
from runs.engine.turn import Decision
from runs.meaning import MakeInput
from runs.queue import Claim
from runs.queue_rows import Take
from runs.starting import Start


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to decide on, the row that goes with it, and the attempt's log lines."""

    make: MakeInput
    row: Claim
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """A commit under way: on the run's version, the attempts it starts."""

    version: int
    attempts: dict[Key, int]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a slice decided, before it is put together. `unused`: rows claimed that nothing was decided for."""

    decisions: Sequence[Decision]
    placed: Sequence[Claim]
    unused: Sequence[Claim]
    starts: Sequence[Start]
    now: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a slice would write. `saving` is None where there is nothing to write, only rows to let go of.

    `parts`: it concerns a limited connection; what is written is known only once that was asked.
    """

    saving: store.Save | None
    placed: Sequence[Claim] = ()
    left: Sequence[Claim] = ()  # claimed, not used, and still of use to others
    takes: Sequence[Take] = ()
    parts: Parts | None = None
