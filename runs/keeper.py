"""The keeper: one process a host for what is due by the clock and belongs to no run: schedules, deliveries, retention.

While there is nothing to do it asks one question a second, for all duties together.

Any number of keepers may run; each duty locks its own rows, so that what is due happens once. A keeper that dies loses
nothing: the next one finds the same rows. `manage.py keeper` runs it, the supervisor keeps it alive.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
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

#: does what is due at `now` (epoch seconds); gives when it is due next, or None: see `register`
Run = Callable[[float], float | None]
#: a condition that never holds: what becomes due by the clock only, whatever other processes do
NEVER: Final = "1 = 0"


@dataclass(slots=True)
class Duty:
    name: str
    run: Run
    when: str | None = None
    due: float = 0.0
    pause: float = 0.0  # after an error, not before


_duties: dict[str, tuple[Run, str | None]] = {}
_endings: list[Callable[[], None]] = []


def register(name: str, run: Run, *, when: str | None = None, finish: Callable[[], None] | None = None) -> None:
    """From an app's `ready()`. `finish`: called once at the end, for what is still under way; some seconds.

    `when`: a condition in SQL, of both databases, that holds where another process may have left it something to do;
    `%(now)s` is the time in it. All of them are asked in one statement every POLL seconds, and the duty is done where
    its own holds, or when it is due as it said; None: not before. Without `when` it is done every POLL seconds.
    """
    _duties[name] = (run, when)
    if finish is not None:
        _endings.append(finish)


class Keeper:
    """`turn()` does what is due and gives the seconds until something is due again, POLL at most."""

    def __init__(self, duties: dict[str, Run] | None = None) -> None:
        chosen = _duties if duties is None else {name: (run, None) for name, run in duties.items()}
        self.duties = [Duty(name, run, when) for name, (run, when) in chosen.items()]
        self.next_glance = 0.0  # monotonic
        self.stop = threading.Event()

    def turn(self) -> float:
        try:
            clock.measure(every=clock.ASK_EVERY)  # the database's clock decides, also after it was set
            self._glance()
        except DatabaseError as error:
            logger.warning("the keeper lost the database: %s", error)
            connection.close()
            return POLL
        for duty in self.duties:
            if duty.due <= clock.now() and not self.stop.is_set():
                duty.due = self._do(duty)
        soonest = min((duty.due for duty in self.duties), default=clock.now() + POLL)
        glance = self.next_glance - time.monotonic() if self.next_glance else POLL
        return max(0.0, min(POLL, soonest - clock.now(), glance))

    def _glance(self) -> None:
        """One look for all duties that can say what would concern them: those are due."""
        steady = time.monotonic()
        asked = [duty for duty in self.duties if duty.when not in (None, NEVER)]
        if asked and steady >= self.next_glance:
            self.next_glance = steady + POLL
            now = clock.now()
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(f'({duty.when})' for duty in asked)}", {"now": now})
                found = cursor.fetchone()
            for duty, concerned in zip(asked, found, strict=True):
                if concerned:
                    duty.due = min(duty.due, max(now, duty.pause))

    def _do(self, duty: Duty) -> float:
        now = clock.now()
        try:
            due = duty.run(now)
        except DatabaseError as error:
            logger.warning("%s lost the database and is tried again: %s", duty.name, error)
            connection.close()
            duty.pause = clock.now() + POLL
            return duty.pause
        except Exception:  # one duty that breaks must not stop the others
            logger.exception("%s broke and is tried again", duty.name)
            duty.pause = clock.now() + AFTER_ERROR
            return duty.pause
        if duty.when is not None:
            return math.inf if due is None else due
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
