"""Can what happens be stored? A disk that is full, or mounted read-only, is told before somebody's work runs into it.

Two places are tried, at most once in KEPT seconds a process: DATA_DIR (files, the spool, SQLite), and, on PostgreSQL,
the server's disk: a sort that does not fit into its memory spills beside the tables, leaves nothing, and needs no
right. A small UPDATE would tell less: it finds room in pages that are there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from resources.unavailable import unavailable

#: seconds an answer is good for
KEPT: Final = 5.0
#: what is too little: SQLite's log of one busy second, some outputs of steps
LEAST: Final = 16 * 2**20
_SPILL: Final = "SELECT count(*) FROM (SELECT n FROM generate_series(1, 20000) AS n ORDER BY -n OFFSET 0) AS spilled"
_known: tuple[float, str] = (float("-inf"), "ok")


def check() -> str:
    """ "ok", or one sentence that says what to do. Raises DatabaseError where the database says something else."""
    global _known
    if time.monotonic() - _known[0] >= KEPT:
        _known = (time.monotonic(), _folder(Path(settings.DATA_DIR)) or _server() or "ok")
    return _known[1]


def forget() -> None:
    """The next answer is found out anew."""
    global _known
    _known = (float("-inf"), "ok")


def _folder(path: Path) -> str:
    free = shutil.disk_usage(path).free
    try:
        with tempfile.TemporaryFile(dir=path) as file:  # a quota, a read-only mount
            file.write(os.urandom(4096))
            file.flush()
    except OSError as error:
        return (
            f"Nothing can be written in DATA_DIR, {path}: {error.strerror}. Free space there, or let Orchestra write."
        )
    if free < LEAST:
        return f"The disk of DATA_DIR, {path}, is almost full: {free // 2**20} MiB are left. Free space there."
    return ""


def _server() -> str:
    if connection.vendor != "postgresql":
        return ""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('work_mem', '64kB', true), current_setting('transaction_read_only')")
            if cursor.fetchone()[1] == "on":
                return "The database may only be read: it is a standby, or somebody made it read-only."
            cursor.execute(_SPILL)
    except DatabaseError as error:
        said = unavailable(error)
        if said is None:
            raise
        return f"{said.message} {said.hint}"
    return ""
