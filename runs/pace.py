"""How long pure steps took lately: quick ones share commits, slow ones keep a worker to themselves.

Of one worker, in memory; a guess that costs time when it is wrong, and nothing else.
"""

from __future__ import annotations

from typing import Final

from runs.store import Loaded

#: seconds of one attempt above which the step takes no company
SLOW: Final = 0.05
#: seconds of one attempt up to which many may be started at once
QUICK: Final = 0.002
#: the same up to which handing them round costs more than they do: each worker's save of the run undoes the others'
TINY: Final = 0.001
#: attempts that must have been slow one after the other, of a step that was not from the beginning
LAST: Final = 3
#: steps remembered
KEPT: Final = 4096


class Pace:
    def __init__(self) -> None:
        self._seconds: dict[tuple[int, str], tuple[float, ...]] = {}  # of the last attempts, LAST at most
        self._usual: dict[tuple[int, str], float] = {}

    def note(self, loaded: Loaded, step: str, seconds: float) -> None:
        """An attempt took this long."""
        key = loaded.release_id, step
        self._seconds[key] = (*self._seconds.get(key, ()), seconds)[-LAST:]
        self._usual[key] = min(seconds, 2 * self._usual.get(key, seconds) + QUICK / 4)
        if len(self._seconds) > KEPT:
            oldest = next(iter(self._seconds))
            del self._seconds[oldest], self._usual[oldest]

    def is_slow(self, loaded: Loaded, step: str) -> bool:
        """Were its last attempts slow? One alone may have waited for the processor. Not of a step never seen."""
        return self.least(loaded, step) > SLOW

    def least(self, loaded: Loaded, step: str) -> float:
        """Seconds of the quickest of its last attempts: what it takes without waiting for the processor."""
        return min(self._seconds.get((loaded.release_id, step), (0.0,)))

    def is_quick(self, loaded: Loaded, step: str) -> bool:
        """Is it quick as a rule, though one attempt had to wait for the processor? Not of one never seen."""
        return self._usual.get((loaded.release_id, step), SLOW) <= QUICK

    def is_tiny(self, loaded: Loaded, step: str) -> bool:
        """Is it as a rule so quick that one worker alone is the quickest way through many? Not of one never seen."""
        return self._usual.get((loaded.release_id, step), SLOW) <= TINY
