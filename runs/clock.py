"""The database's clock decides; every process keeps its distance to it.

On SQLite the host's clock is the database's. On PostgreSQL the distance is measured with every claim.
"""

from __future__ import annotations

import time

_offset = 0.0


def now() -> float:
    """Epoch seconds by the database's clock, as far as this process knows it."""
    return time.time() + _offset


def learn(database_now: float) -> None:
    """Take note of what the database's clock just said."""
    global _offset
    _offset = database_now - time.time()
