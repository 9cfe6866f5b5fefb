"""A running attempt as its worker's heart sees it: progress and checkpoint on their way to the database, a request to
stop on its way back, and whether it has stalled.

The attempt writes into this object and never waits; the heart (runs/heart.py) tends it about twice a second, with its
own connection. What is written is display and checkpoint only, in a column the core's saves leave alone, and only while
this very attempt runs: the attempt's number is the fence. What the core needs of it comes back in AttemptEnded/Lost.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any, Final

from django.db import connection, transaction

from flows.steps.base import Refused
from resources.fields import dumps
from resources.masking import Masker
from resources.stop import Stop
from runs import clock, columns, history
from runs.engine.state import LOST, Step

Json = Any
logger = logging.getLogger(__name__)

MAX_MESSAGE: Final = 200  # characters of a progress line
MAX_TAIL: Final = 8 * 1024  # characters of what an attempt says
MAX_LINES: Final = 50  # of the log, while it runs
MAX_LINE: Final = 500  # characters of one of them
MAX_CHECKPOINT: Final = 64 * 1024  # bytes of JSON
#: seconds an attempt has run before anything of it is written or asked
QUIET: Final = 0.8
#: seconds between two writes, and two looks
EVERY: Final = 0.9

_WRITE = """
UPDATE runs_steprun SET live = %s WHERE run_id = %s AND step = %s AND item = %s AND attempt = %s AND status = 'running'
"""
_LOOK = """
SELECT r.status, r.control, s.status, s.attempt, s.state FROM runs_run r
  JOIN runs_steprun s ON s.run_id = r.id WHERE r.id = %s AND s.step = %s AND s.item = %s
"""


class Live:
    """`tend` is the heart's, everything else the attempt's. `masker` hides secrets of whatever is kept."""

    def __init__(self, run_id: str, step: Step, *, seconds: float, stall_after: float | None, masker: Masker) -> None:
        self.run_id, self.step = run_id, step
        self.stop = Stop(time.monotonic() + seconds)
        self.stall_after = stall_after
        self.masker, self.mask = masker, masker.tree
        self.began = self.moved = self.tended = time.monotonic()
        self.kept: dict[str, Json] = {}
        self._changed = False
        self._lock = threading.Lock()

    # -- the attempt -----------------------------------------------------------------------------------------
    def progress(self, message: str = "", percent: float | None = None) -> None:
        self.moved = time.monotonic()
        if not message and percent is None:
            return
        shown: dict[str, Json] = {"message": message, "at": clock.now()}
        if percent is not None:
            shown["percent"] = round(min(100.0, max(0.0, percent)), 1)
        with self._lock:
            self.kept["progress"] = shown
            self._changed = True

    def checkpoint(self, value: Json) -> None:
        """Raises Refused for what is no JSON or too large."""
        try:
            data = dumps(self.mask(value))
        except (ValueError, TypeError, RecursionError) as error:
            raise Refused(f"The checkpoint is not JSON that can be kept: {error}") from error
        if len(data.encode()) > MAX_CHECKPOINT:
            raise Refused(f"The checkpoint has {len(data.encode())} bytes; {MAX_CHECKPOINT} are allowed.")
        self.moved = time.monotonic()
        with self._lock:
            self.kept["checkpoint"] = json.loads(data)
            self._changed = True

    def tail(self, text: str) -> None:
        """What the attempt says right now: the end of it is kept, for the page."""
        self.moved = time.monotonic()
        with self._lock:
            self.kept["tail"] = (self.kept.get("tail", "") + text)[-2 * MAX_TAIL :]
            self._changed = True

    def line(self, text: str) -> None:
        """A masked line of its log: the last ones are kept, for the page. It is no progress."""
        with self._lock:
            self.kept["log"] = [*self.kept.get("log", ())[1 - MAX_LINES :], text[:MAX_LINE].replace("\0", "")]
            self._changed = True

    # -- the heart ---------------------------------------------------------------------------------------------
    def tend(self) -> None:
        """Write what is new, learn whether to stop. Raises DatabaseError; the next turn tries again."""
        now = time.monotonic()
        if now - self.began < QUIET or now - self.tended < EVERY or self.stop.is_set():
            return
        self.tended = now
        self._write()
        why = self._asked()
        if why:
            self.stop.set(why)
        elif self.stall_after is not None and now - self.moved >= self.stall_after:
            self._stalled(self.stall_after)

    def _write(self) -> None:
        with self._lock:
            if not self._changed:
                return
            self._changed, kept = False, dict(self.kept)
        if "progress" in kept:  # masked here: a family may tell its progress thousands of times a second
            message = str(self.mask(kept["progress"]["message"]))[:MAX_MESSAGE]
            kept["progress"] = {**kept["progress"], "message": message}
        if "tail" in kept:  # the mask may need what is before the part that is shown, and what comes next
            kept["tail"] = self.masker.open_text(kept["tail"])[-MAX_TAIL:].replace("\0", "")
        place = (self.run_id, *self.step.key)
        row: list[Any] = [columns.LIVE.dump({"attempt": self.step.attempt, **kept}, *place), *place, self.step.attempt]
        try:
            with connection.cursor() as cursor:
                cursor.execute(_WRITE, row)
        except BaseException:
            self._changed = True
            raise

    def _asked(self) -> str:
        """Why this attempt should stop, or "": it was told to, its run stops or has ended, it is not ours any more."""
        with connection.cursor() as cursor:
            cursor.execute(_LOOK, [self.run_id, *self.step.key])
            row = cursor.fetchone()
        if row is None or row[2] != "running" or row[3] != self.step.attempt:
            return "cancelled"
        ending = columns.CONTROL.load(row[1], self.run_id).get("ending") or {}
        if row[0] == "cancelling" and ending.get("phase", "stopping") == "stopping":
            return "cancelled"
        state = columns.STATE.load(row[4], self.run_id, *self.step.key)
        if state.get("reason") == LOST:  # a join went on without it
            return "cancelled"
        return str(state.get("stopping", ""))

    def _stalled(self, after: float) -> None:
        data = {"attempt": self.step.attempt, "after": after}
        with transaction.atomic():
            history.append(self.run_id, "step.stalled", step=self.step.id, item=self.step.item, data=data)
        self.stop.set("stalled")


def left_by(run_id: str, step: Step) -> Json:
    """The checkpoint that this attempt of the step left in the database, or None."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT live FROM runs_steprun WHERE run_id = %s AND step = %s AND item = %s", [run_id, *step.key]
        )
        row = cursor.fetchone()
    live = columns.LIVE.load(row[0], run_id, *step.key) if row is not None and row[0] else {}
    return live.get("checkpoint") if live.get("attempt") == step.attempt else None
