"""The last good output of a step, for `fallback: {last_good: true}`: one row for each flow, step and item key.

Written by the attempt that gave it, in a commit of its own before the result's: it was good, whatever becomes of the
run. Only steps that ask for it are written down.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from django.db import DatabaseError, connection

from flows.resolve import load_kept
from resources.errors import OrchestraError
from runs import clock, columns
from runs.engine.fanout import REF
from runs.engine.state import NO_ITEM, Step
from runs.large import storable
from runs.models import LastGood
from runs.store import Loaded

Json = Any
logger = logging.getLogger(__name__)
_KEEP = """
INSERT INTO runs_lastgood (flow_id, step, mark, run_id, at, output) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (flow_id, step, mark) DO UPDATE SET run_id = excluded.run_id, at = excluded.at, output = excluded.output
 WHERE excluded.at >= runs_lastgood.at
"""


def mark_of(loaded: Loaded, step: Step) -> str:
    """Which item it is in every run: by its key where the fan-out has one, else by its value; "" for no item."""
    if step.item == NO_ITEM:
        return ""
    parent = loaded.state.step(step.id)
    key = parent.keys[step.item] if parent.keys else json.dumps((parent.items or ())[step.item], sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()


def keep(loaded: Loaded, step: Step, output: Json) -> None:
    """Remember it. A database that is gone costs the memory, not the result."""
    where: list[str | int | float] = [loaded.flow_id, step.id, mark_of(loaded, step)]
    row = [*where, loaded.state.run_id, clock.now(), columns.LAST_GOOD.dump(output, *where)]
    try:
        with connection.cursor() as cursor:
            cursor.execute(_KEEP, row)
    except DatabaseError:
        logger.warning("the good output of step %s of run %s was not kept", step.id, loaded.state.run_id, exc_info=True)


def find(loaded: Loaded, step: Step) -> tuple[Json, dict[str, Json]] | None:
    """(output, {run, at, age in seconds}), or None where there is none, or it is no longer stored.

    A large one is stored once more, as this run's own: the other run may go.
    """
    rows = LastGood.objects.filter(flow_id=loaded.flow_id, step=step.id, mark=mark_of(loaded, step))
    row = rows.exclude(run_id=loaded.state.run_id).first()
    if row is None:
        return None
    output = row.output
    if isinstance(output, dict) and REF in output:
        try:
            whole = load_kept(output, row.run_id)
        except OrchestraError:
            logger.warning("the last good output of step %s is gone with run %s", step.id, row.run_id)
            return None
        output, _ = storable(whole, loaded.state.run_id, step.id, loaded.folder)
    return output, {"run": row.run_id, "at": row.at, "age": round(max(0.0, clock.now() - row.at), 3)}
