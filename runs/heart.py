"""Keeps the lease of a long attempt alive, from a thread of the worker with a database connection of its own.

It stops when the attempt's own time (and a grace) is over: a family that hangs loses its step to another worker.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection

from runs import clock, queue
from runs.drain import Drain
from runs.queue import Claim

logger = logging.getLogger(__name__)

#: seconds between looks at whether the cluster stops
LOOK: Final = 0.5


class Heart:
    def __init__(self, owner: str, drain: Drain | None = None) -> None:
        self.owner, self.drain = owner, drain
        self._beating: tuple[Sequence[Claim], float] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @contextlib.contextmanager
    def beat(self, held: Sequence[Claim], until: float) -> Iterator[None]:
        """Renew the lease of `held` while the body runs, but not past `until` (epoch seconds)."""
        self._beating = (held, until)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._beating = None

    def stop(self) -> None:
        """For good. Returns when the thread has given its connection back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._renew_until_stopped()
        finally:
            connection.close()

    def _renew_until_stopped(self) -> None:
        every = settings.LEASE_SECONDS / 3
        renewed = time.monotonic()
        while not self._stop.wait(min(LOOK, every)):
            beating = self._beating
            if beating is not None and self.drain is not None:
                self.drain.look(beating[0])
            if beating is None or time.monotonic() - renewed < every:
                continue
            renewed = time.monotonic()
            held, until = beating
            end = min(until, clock.now() + settings.LEASE_SECONDS)
            try:
                if end > clock.now():
                    for row in held:
                        queue.renew(row, self.owner, end)
            except DatabaseError as error:  # tried again at the next beat; the lease has two more to live
                logger.warning("a lease could not be renewed: %s", error)
                connection.close()
