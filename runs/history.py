"""Appending to a run's history from outside the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection

from runs import bell, clock, columns
from runs.engine.state import NO_ITEM

Json = Any


def append(
    run_id: str,
    type_: str,
    *,
    step: str = "",
    item: int = NO_ITEM,
    actor: str = "",
    data: Mapping[str, Json] | None = None,
) -> int:
    """One event, under the run's row lock, in the caller's transaction. Gives its number within the run.

    Raises the run's version, so that whoever decides on older state decides again.
    """
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_run SET version = version + 1, seq = seq + 1 WHERE id = %s RETURNING seq", [run_id])
        (seq,) = cursor.fetchone()
        kept = columns.DATA.dump(dict(data or {}), run_id, seq)
        cursor.execute(
            "INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data) "
            "VALUES (%s, %s, %s, 1, %s, %s, %s, %s, %s, %s)",
            [run_id, seq, type_, False, step, item, clock.now(), actor, kept],
        )
    bell.ring_on_commit(bell.EVENTS)
    return int(seq)
