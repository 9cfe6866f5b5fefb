"""The database's clock decides; every process keeps its distance to it.

On SQLite the host's clock is the database's. On PostgreSQL what it said last is carried on by this host's steady clock,
so that setting the host's own clock moves nothing. It is asked with every claim, and once a second by whoever only
waits, so that setting the database's clock is learnt within that. A clock that was set forward makes every lease look
over: for one lease after a jump, takeovers wait (rule 9 of the design).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from django.db import connection

#: seconds the database's clock may run away from this host's steady one between two looks
MAX_DRIFT: Final = 5.0

#: seconds between two questions of a process that only waits
ASK_EVERY: Final = 1.0
#: the same of one that writes times only now and then, such as a web process
TRUST: Final = 30.0

#: (what the database's clock said, steady seconds here at that moment); None: the host's clock is the database's
_said: tuple[float, float] | None = None


def now() -> float:
    """Epoch seconds by the database's clock, as far as this process knows it."""
    return time.time() if _said is None else _said[0] + time.monotonic() - _said[1]


def learn(database_now: float) -> None:
    """Take note of what the database's clock just said."""
    global _said
    _said = (database_now, time.monotonic())


def forget() -> None:
    """The host's clock is the database's again (another database, in tests)."""
    global _said
    _said = None


def measure(*, every: float = 0.0) -> None:
    """Ask the database's clock, for a process that claims nothing; not where it said so `every` seconds ago or less."""
    if connection.vendor != "postgresql" or (_said is not None and time.monotonic() - _said[1] < every):
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        learn(cursor.fetchone()[0])


@dataclass(slots=True)
class JumpGuard:
    """Notices that the clock was set. Times are arguments: `wall` epoch seconds, `steady` monotonic seconds."""

    seen: tuple[float, float] | None = None
    until: float = 0.0

    def expected(self, steady: float) -> float | None:
        """What the clock should say now, going by the last look; None before the first."""
        return None if self.seen is None else self.seen[0] + steady - self.seen[1]

    def trusts(self, wall: float, steady: float, lease: float) -> bool:
        """False while leases that look over may only look so."""
        if self.seen is not None and abs((wall - self.seen[0]) - (steady - self.seen[1])) > MAX_DRIFT:
            self.until = steady + lease
        self.seen = (wall, steady)
        return steady >= self.until
