"""Keeps the lease of a long attempt alive and tends it, from a thread of the worker with a connection of its own.

The lease is not renewed past the attempt's own time (and a grace): a family that hangs, or that was asked to stop and
does not, loses its step to another worker.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection

from runs import clock, hosts, queue
from runs.drain import Drain
from runs.live import Live
from runs.queue import Claim

logger = logging.getLogger(__name__)

#: seconds between two looks at the attempt; a request to stop takes at most this and live.EVERY to arrive
TICK: Final = 0.4


class Heart:
    """`look`: what else is to be done now and then while an attempt runs; never while none does."""

    def __init__(self, owner: str, drain: Drain | None = None, look: Callable[[], None] | None = None) -> None:
        self.owner, self.drain, self.look = owner, drain, look
        self._looking = threading.Lock()
        self._beating: tuple[Sequence[Claim], float, Live | None] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._renewed = 0.0  # monotonic

    @contextlib.contextmanager
    def beat(self, held: Sequence[Claim], until: float, live: Live | None = None) -> Iterator[None]:
        """Renew the lease of `held` while the body runs, but not past `until` (epoch seconds); tend `live`."""
        self._beating = (held, until, live)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            with self._looking:
                self._beating = None

    def stop(self) -> None:
        """For good. Returns when the thread has given its connection back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(min(TICK, settings.LEASE_SECONDS / 3)):
                self._turn()
        finally:
            connection.close()

    def _turn(self) -> None:
        beating = self._beating
        if beating is None:
            return
        held, until, live = beating
        with self._looking:
            if self.look is not None and self._beating is not None:
                self.look()
        if self.drain is not None:
            self.drain.look(held)
        try:
            if live is not None:
                live.tend()
            # soon enough after the last time, whoever it was for: nobody's runs out
            if time.monotonic() - self._renewed >= _renew_every() - TICK:
                self._renew(held, until)
        except DatabaseError as error:  # tried again at the next beat; the lease has two more to live
            logger.warning("a lease could not be renewed: %s", error)
            connection.close()

    def _renew(self, held: Sequence[Claim], until: float) -> None:
        end = min(until, clock.now() + settings.LEASE_SECONDS)
        if end > clock.now():
            for row in held:
                queue.renew(row, self.owner, end)
        self._renewed = time.monotonic()


def _renew_every() -> float:
    """Seconds: a third of a lease, and on PostgreSQL no more than keeps one that others have shortened."""
    third: float = settings.LEASE_SECONDS / 3
    return min(third, hosts.RENEW) if connection.vendor == "postgresql" else third
