"""The rank of a ready row: the lowest goes first. Pure; times are epoch seconds, ranks are on the same scale.

A rank is fixed when a row becomes ready and is never changed, so claiming is one look into an index. Each row gets a
place, which is start-time fair queueing with bounds, and its priority moves it from there:

- what comes while there is a backlog is placed beside the row at the head of the line, as if it had come with that one,
  LAG_MAX seconds before its time at most. So a flow with nothing in line goes next, however much another one has;
- each further row of the same flow (and priority) is placed SHARE behind the one before, DEBT_MAX seconds after its
  time at most. So two flows with much to do take turns, and rows of one flow keep their order;
- each point of priority moves a row by SECONDS_A_POINT, in both directions.

So no row is passed by anything that becomes ready more than SPAN seconds after it: that bounds what the lowest priority
waits while a machine is saturated, and how old a backlog may be that a newcomer still passes as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SECONDS_A_POINT: Final = 0.5
DEBT_MAX: Final = 10.0
SHARE: Final = 0.01
LAG_MAX: Final = 39.0
#: nothing that becomes ready this much later goes first
SPAN: Final = 20 * SECONDS_A_POINT + DEBT_MAX + LAG_MAX
#: lines remembered at a time
MAX_LINES: Final = 1000


def lag_of(now: float, head: float | None, priority: int = 0) -> float:
    """How far the line is behind, by the rank and priority of the row at its head (None: nothing is ready)."""
    if head is None:
        return 0.0
    return min(LAG_MAX, max(0.0, now - head - SECONDS_A_POINT * priority))


def rank(place: float, priority: int) -> float:
    return place - SECONDS_A_POINT * max(-10, min(10, priority))


@dataclass(slots=True)
class Lines:
    """Where each flow's last row was placed, as one process saw it. Several processes each know their part."""

    last: dict[tuple[int, int], float] = field(default_factory=dict)  # (flow, priority) -> place

    def place(self, flow: int, priority: int, now: float, lag: float) -> float:
        """The place of a row of this flow that becomes ready at `now`; `lag`: see lag_of."""
        base = now - min(LAG_MAX, max(0.0, lag))
        key = (flow, priority)
        if len(self.last) >= MAX_LINES and key not in self.last:
            self.last = {known: place for known, place in self.last.items() if place > base}
        found = min(now + DEBT_MAX, max(base, self.last.get(key, float("-inf")) + SHARE))
        self.last[key] = found
        return found
