"""What a keeper's duties that tell people share: each looks at what happened since its last look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

#: seconds between two looks, that a look reaches back beyond the last one (for what was committed late), and that the
#: first one reaches back
EVERY: Final = 15.0
_OVERLAP: Final = 60.0
_FIRST: Final = 3600.0


class Looks(ABC):
    """Several keepers find the same, and what they find more than once is told once: notices have keys."""

    def __init__(self) -> None:
        self.since: float | None = None

    def turn(self, now: float) -> float:
        """Gives when it is due next."""
        self.look(now - _FIRST if self.since is None else self.since - _OVERLAP, now)
        self.since = now
        return now + EVERY

    @abstractmethod
    def look(self, since: float, now: float) -> None:
        """Tell of what happened after `since`. Of nothing, nothing is written: no writer is kept waiting."""
