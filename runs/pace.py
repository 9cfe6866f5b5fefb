"""Which pure steps have shown to be slow: those keep a worker to themselves. Of one worker, in memory."""

from __future__ import annotations

from typing import Final

from runs.store import Loaded

#: seconds of one attempt above which the step takes no company
SLOW: Final = 0.05
#: steps remembered
KEPT: Final = 4096


class Pace:
    def __init__(self) -> None:
        self._slow: dict[tuple[int, str], None] = {}

    def is_slow_now(self, loaded: Loaded, step: str, seconds: float) -> bool:
        """Note what an attempt took; was that slow?"""
        key = (loaded.release_id, step)
        if seconds <= SLOW:
            self._slow.pop(key, None)
            return False
        self._slow[key] = None
        if len(self._slow) > KEPT:
            del self._slow[next(iter(self._slow))]
        return True

    def is_slow(self, loaded: Loaded, step: str) -> bool:
        """Was its last attempt slow?"""
        return (loaded.release_id, step) in self._slow
