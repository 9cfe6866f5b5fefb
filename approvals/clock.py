"""The clock that decides about expiry: the database's, so that hosts cannot disagree."""

from __future__ import annotations

import time

from django.db import connection


def database_now() -> float:
    """Epoch seconds. On SQLite the database's clock is this host's."""
    if connection.vendor != "postgresql":
        return time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        row = cursor.fetchone()
    return float(row[0])
