"""The demo world's knobs: how badly the outside behaves. Pure; randomness is seeded, so a test repeats itself."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

MAX_DELAY_MS = 600_000
MAX_CAPACITY = 10_000
_WHOLE = {"delay_ms": MAX_DELAY_MS, "capacity": MAX_CAPACITY}


class KnobError(ValueError):
    """A knob was given a value it cannot have; the message says which and what would do."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """`delay_ms`: the answer comes that much later (the effect does not). `error_rate`: refused with 503, no effect.
    `drop_rate`: takes effect, then the connection breaks without an answer. `duplicate_rate`: the request counts
    as if it had arrived twice. Rates are 0 to 1. `capacity`: more of a kind than that at a time are refused with 429
    and Retry-After; 0 is any number."""

    delay_ms: int = 0
    error_rate: float = 0.0
    drop_rate: float = 0.0
    duplicate_rate: float = 0.0
    capacity: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one request."""

    delay_s: float
    error: bool
    drop: bool
    duplicate: bool
    full: bool = False


NAMES = tuple(item.name for item in fields(Knobs))


@dataclass(slots=True)
class Board:
    """All knobs: the common ones, those of single kinds (which win), and the seed of the dice."""

    common: Knobs = field(default_factory=Knobs)
    kinds: dict[str, Knobs] = field(default_factory=dict)
    seed: int | None = None
    _dice: random.Random = field(default_factory=random.Random)

    def fate(self, kind: str, query: Mapping[str, str], busy: int = 0) -> Fate:
        """Roll for one request. `query`: knobs of this request alone, as text; `busy`: requests of its kind under way.

        Raises KnobError.
        """
        knobs = self.kinds.get(kind, self.common)
        own = {name: query[name] for name in NAMES if name in query}
        if own:
            knobs = parse_knobs(own, knobs)
        roll = self._dice.random
        return Fate(
            delay_s=knobs.delay_ms / 1000,
            error=roll() < knobs.error_rate,
            drop=roll() < knobs.drop_rate,
            duplicate=roll() < knobs.duplicate_rate,
            full=0 < knobs.capacity <= busy,
        )

    def as_json(self) -> dict[str, Any]:
        """`GET /knobs`; the same shape is what `PUT /knobs` takes."""
        return {
            **asdict(self.common),
            "seed": self.seed,
            "kinds": {kind: asdict(knobs) for kind, knobs in self.kinds.items()},
        }


def parse_knobs(values: Mapping[str, Any], base: Knobs) -> Knobs:
    """`base` with `values` (numbers, or text that reads as numbers) laid over it. Raises KnobError."""
    unknown = sorted(set(values) - set(NAMES))
    if unknown:
        raise KnobError(f"There is no knob {unknown[0]!r}; there are {', '.join(NAMES)}.")
    numbers: dict[str, float] = asdict(base)
    for name, value in values.items():
        top = _WHOLE.get(name, 1)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number <= top:
            raise KnobError(f"{name} must be a number from 0 to {top}.")
        numbers[name] = number
    whole = {name: int(numbers.pop(name)) for name in _WHOLE}
    return Knobs(delay_ms=whole["delay_ms"], capacity=whole["capacity"], **numbers)


def parse_board(body: Any, kinds: tuple[str, ...]) -> Board:
    """A whole board from the JSON of `PUT /knobs`: what is left out is off. Raises KnobError."""
    if not isinstance(body, dict):
        raise KnobError("Send a JSON object of knobs.")
    rest = dict(body)
    seed, per_kind = rest.pop("seed", None), rest.pop("kinds", None) or {}
    if seed is not None and not isinstance(seed, int):
        raise KnobError("seed must be a whole number.")
    if not isinstance(per_kind, dict) or set(per_kind) - set(kinds):
        raise KnobError(f"kinds must be an object with keys among {', '.join(kinds)}.")
    common = parse_knobs(rest, Knobs())
    board = Board(common=common, seed=seed)
    board.kinds = {kind: parse_knobs(values or {}, common) for kind, values in per_kind.items()}
    if seed is not None:
        board._dice.seed(seed)
    return board
