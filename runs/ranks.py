"""Ranks as this process gives them: how far the line is behind, looked at now and then, and what each flow put in it.

Both are one process's own view: several processes rank a little differently, within the bounds of runs/rank.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from django.db import connection

from runs import clock, rank

#: seconds for which a look at the head of the line is good
FRESH: Final = 0.1
#: not of what a dead worker left: that goes first whatever the line is like
_HEAD = """
SELECT rank, priority FROM runs_work WHERE queue = %s AND rank IS NOT NULL AND owner IS NULL ORDER BY rank LIMIT 1
"""


@dataclass(slots=True)
class View:
    lines: rank.Lines = field(default_factory=rank.Lines)
    lags: dict[str, tuple[float, float]] = field(default_factory=dict)  # queue -> (lag, monotonic)


_view = View()


def look(queue: str) -> None:
    """See how far the line is behind, unless that was done just now. Never in the middle of a batch of statements."""
    steady = time.monotonic()
    known = _view.lags.get(queue)
    if known is not None and steady - known[1] < FRESH:
        return
    with connection.cursor() as cursor:
        cursor.execute(_HEAD, [queue])
        head = cursor.fetchone() or (None, 0)
    _view.lags[queue] = (rank.lag_of(clock.now(), head[0], head[1]), steady)


def rank_of(flow_id: int, queue: str, priority: int, now: float) -> float:
    """The rank of a row of this flow that becomes ready now. Asks the database nothing."""
    lag = _view.lags.get(queue, (0.0, 0.0))[0]
    return rank.rank(_view.lines.place(flow_id, priority, now, lag), priority)


def forget() -> None:
    """For tests: another database, another line."""
    _view.lags.clear()
    _view.lines.last.clear()
