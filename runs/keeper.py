"""The keeper: one process a host for what is due by the clock and belongs to no run: schedules, deliveries, retention.

Any number of keepers may run; each duty locks its own rows, so that what is due happens once. A keeper that dies loses
nothing: the next one finds the same rows. `manage.py keeper` runs it, the supervisor keeps it alive.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError, connection

from runs import clock

logger = logging.getLogger(__name__)

#: seconds between two looks at a duty that does not know when it is due next
POLL: Final = 1.0
#: seconds before a duty that failed is tried again
AFTER_ERROR: Final = 5.0

#: does what is due at `now` (epoch seconds); gives when it is due next, or None to be asked every POLL seconds
Run = Callable[[float], float | None]


@dataclass(slots=True)
class Duty:
    name: str
    run: Run
    due: float = 0.0


_duties: dict[str, Run] = {}
_endings: list[Callable[[], None]] = []


def register(name: str, run: Run, *, finish: Callable[[], None] | None = None) -> None:
    """From an app's `ready()`. `finish`: called once at the end, for what is still under way; some seconds."""
    _duties[name] = run
    if finish is not None:
        _endings.append(finish)


class Keeper:
    """`turn()` does what is due and gives the seconds until something is due again, POLL at most."""

    def __init__(self, duties: dict[str, Run] | None = None) -> None:
        self.duties = [Duty(name, run) for name, run in (_duties if duties is None else duties).items()]
        self.stop = threading.Event()

    def turn(self) -> float:
        try:
            clock.measure()  # the database's clock decides, also after it was set
        except DatabaseError as error:
            logger.warning("the keeper lost the database: %s", error)
            connection.close()
            return POLL
        for duty in self.duties:
            if duty.due <= clock.now() and not self.stop.is_set():
                duty.due = self._do(duty)
        soonest = min((duty.due for duty in self.duties), default=clock.now() + POLL)
        return min(POLL, max(0.0, soonest - clock.now()))

    def _do(self, duty: Duty) -> float:
        now = clock.now()
        try:
            due = duty.run(now)
        except DatabaseError as error:
            logger.warning("%s lost the database and is tried again: %s", duty.name, error)
            connection.close()
            return clock.now() + POLL
        except Exception:  # one duty that breaks must not stop the others
            logger.exception("%s broke and is tried again", duty.name)
            return clock.now() + AFTER_ERROR
        # asked again within POLL whatever it says: another process may have added something earlier
        return clock.now() + POLL if due is None else min(due, clock.now() + POLL)

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        while not self.stop.is_set():
            self.stop.wait(self.turn())
        for finish in _endings:
            try:
                finish()
            except DatabaseError as error:
                logger.warning("what was under way at the end is done again later: %s", error)
        connection.close()
