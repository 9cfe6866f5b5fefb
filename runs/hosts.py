"""Whether other hosts are there: on PostgreSQL each watcher holds an advisory lock by its host's name, in a session.

When a host dies, nobody on it ends the leases of its workers. The server gives the lock back with the session, some
seconds later at most; whoever had seen it held shortens those leases then. A lock may vanish for less, a connection cut
or a watcher killed: so a lease is shortened and not ended, and a worker that lives renews it in time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from django.db import connection

from runs import owners

#: seconds that a lease lasts at most once its host's lock has vanished
SHORT: Final = 5.0
#: seconds between two renewals of a lease at most, so that a worker that lives keeps a shortened one
RENEW: Final = SHORT / 2
#: the first key of these locks; "host" in ASCII
_CLASS: Final = 0x686F7374
#: a host without power says no goodbye: the server asks after 2 s of silence, and gives it up 3 s later
_ASK: Final = "SET tcp_keepalives_idle TO 2; SET tcp_keepalives_interval TO 1; SET tcp_keepalives_count TO 3"

_HELD: Final = """
SELECT objid::bigint FROM pg_locks
 WHERE locktype = 'advisory' AND objsubid = 2 AND classid = %s AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_SHORTEN: Final = "UPDATE runs_work SET wake_at = %s WHERE owner = ANY(%s) AND wake_at > %s"


def key_of(host: str) -> int:
    """The second key of the host's lock: 31 bits, so that it is the same number signed and not."""
    return int.from_bytes(hashlib.sha256(host.encode()).digest()[:4]) >> 1


def hold(session: Any, host: str) -> None:
    """Hold the lock of `host` for as long as this psycopg connection lives. Any number may. Raises psycopg.Error."""
    session.execute(_ASK)
    session.execute("SELECT pg_advisory_lock_shared(%s, %s)", [_CLASS, key_of(owners.short(host))])


class Others:
    """The hosts that one watcher has seen there, its own left out."""

    def __init__(self, host: str) -> None:
        self._own = owners.short(host)
        self._seen: set[str] = set()

    def shorten(self, holding: Iterable[str], now: float) -> int:
        """Shorten what owners of vanished hosts hold. Gives the number of rows. Raises DatabaseError."""
        there: dict[str, list[str]] = {}
        for owner in holding:
            host = owners.host_of(owner)
            if host and host != self._own:
                there.setdefault(host, []).append(owner)
        self._seen &= there.keys()
        if not there or connection.vendor != "postgresql":
            return 0
        with connection.cursor() as cursor:
            cursor.execute(_HELD, [_CLASS])
            held = {key for (key,) in cursor.fetchall()}
            self._seen |= {host for host in there if key_of(host) in held}
            gone = [o for host in self._seen if key_of(host) not in held for o in there[host]]
            if not gone:
                return 0
            cursor.execute(_SHORTEN, [now + SHORT, gone, now + SHORT])
            return int(cursor.rowcount)
