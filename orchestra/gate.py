"""The moment in which a process has its program loaded."""

from __future__ import annotations

import gc
import os
import sys
from typing import Final

#: names the place where this process waits: "apps" or "web"; not there: nowhere
GATE: Final = "WAIT_AT"


def loaded(place: str) -> None:
    """What was imported stays, so the garbage collector never looks at it; `manage.py` had it off until here.

    Then, where the supervisor started this process before it has prepared the database, waits until it has: until our
    input ends."""
    gc.freeze()
    gc.enable()
    if os.environ.get(GATE) == place:
        del os.environ[GATE]  # what this process starts waits for nobody
        sys.stdin.buffer.read()
