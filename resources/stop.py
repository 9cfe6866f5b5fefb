"""A request to stop, made by one thread and obeyed by another: like an Event that also wakes what blocks.

Who blocks in something that no Event can wake (a socket, a child process) hands over what ends it: `on_stop`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)


class Stop:
    """`until`: monotonic seconds at which the time is over by itself, for `remaining`."""

    def __init__(self, until: float = float("inf")) -> None:
        self.until = until
        self.why = ""
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._enders: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep, but not past a request to stop; True when there is one."""
        return self._event.wait(timeout)

    def remaining(self) -> float:
        """Seconds left, never less than 0; 0 once asked to stop."""
        return 0.0 if self.is_set() else max(0.0, self.until - time.monotonic())

    def set(self, why: str = "cancelled") -> None:
        """Ask to stop. The first reason counts."""
        with self._lock:
            if self._event.is_set():
                return
            self.why = why
            self._event.set()
            enders, self._enders = self._enders, []
        for end in enders:
            _end(end)

    @contextlib.contextmanager
    def on_stop(self, end: Callable[[], None]) -> Iterator[None]:
        """While the body runs, a request to stop calls `end` (at once where there is one already), from any thread."""
        with self._lock:
            late = self._event.is_set()
            if not late:
                self._enders.append(end)
        if late:
            _end(end)
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._enders.remove(end)


def _end(end: Callable[[], None]) -> None:
    try:
        end()
    except OSError as error:  # a socket that is closed, a process that is gone: then it has stopped
        logger.debug("nothing left to stop: %s", error)
