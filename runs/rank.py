"""The rank of a ready row: the lowest goes first. Pure; times are epoch seconds, ranks are on the same scale.

A rank is fixed when a row becomes ready and is never changed, so claiming is one look into an index. It is the moment
the row became ready, moved by three things, each of them bounded:

- priority: each point is worth SECOND_A_POINT, in both directions;
- debt: what the row's own flow has put in line lately moves it back, DEBT_MAX at most. Each row a flow makes ready
  costs SHARE seconds of debt, which time pays off;
- lag: while there is a backlog, what comes now is ranked as if it had come with the row now at the head of the line
  (LAG_MAX seconds earlier at most). A flow with no debt therefore goes next, however much another flow has waiting,
  and two flows with much to do take turns.

So no row is passed by anything that becomes ready more than SPAN seconds after it: that bounds what the lowest
priority waits while a machine is saturated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SECOND_A_POINT: Final = 1.0
DEBT_MAX: Final = 10.0
SHARE: Final = 0.01
LAG_MAX: Final = 25.0
#: nothing that becomes ready this much later goes first
SPAN: Final = 20 * SECOND_A_POINT + DEBT_MAX + LAG_MAX
#: flows remembered at a time
MAX_FLOWS: Final = 1000


def rank(now: float, *, priority: int = 0, debt: float = 0.0, lag: float = 0.0) -> float:
    """Rank of a row that becomes ready at `now`. `debt` and `lag` in seconds; see the module."""
    behind = min(LAG_MAX, max(0.0, lag))
    return now - behind + min(DEBT_MAX, max(0.0, debt)) - SECOND_A_POINT * max(-10, min(10, priority))


def lag_of(now: float, head: float | None, priority: int = 0) -> float:
    """How far the line is behind, by the rank and priority of the row at its head (None: nothing is ready)."""
    if head is None:
        return 0.0
    return min(LAG_MAX, max(0.0, now - head - SECOND_A_POINT * priority))


@dataclass(slots=True)
class Debts:
    """What each flow has put in line lately, as one process saw it. Several processes each know their part."""

    known: dict[int, tuple[float, float]] = field(default_factory=dict)  # flow -> (debt, as of)

    def of(self, flow: int, now: float) -> float:
        debt, at = self.known.get(flow, (0.0, now))
        return max(0.0, debt - max(0.0, now - at))

    def charge(self, flow: int, now: float) -> float:
        """The debt the flow's next row has; it grows by SHARE with each."""
        debt = self.of(flow, now)
        if len(self.known) >= MAX_FLOWS and flow not in self.known:
            self.known = {f: pair for f, pair in self.known.items() if self.of(f, now) > 0.0}
        self.known[flow] = (min(DEBT_MAX, debt + SHARE), now)
        return debt
