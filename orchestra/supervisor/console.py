"""The terminal of `manage.py serve`: one line at a time, children's lines prefixed, colours only for a person."""

from __future__ import annotations

import os
import sys
import threading
from typing import IO

COLOURS = {"web": 36, "work": 33, "world": 35}
MAX_LINE = 64 * 1024


class Console:
    """Thread-safe. A terminal that went away (a closed pipe) silences it; it never stops the work."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._colour = self._out.isatty() and "NO_COLOR" not in os.environ

    def say(self, line: str) -> None:
        with self._lock:
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except (OSError, ValueError):
                self._out = open(os.devnull, "w")  # noqa: SIM115  nobody reads any more

    def child(self, name: str, line: str) -> None:
        label = f"{name:<5}|"
        if self._colour:
            label = f"\x1b[{COLOURS.get(name, 37)}m{label}\x1b[0m"
        self.say(f"{label} {line}")

    def pump(self, name: str, pipe: IO[bytes]) -> threading.Thread:
        """Copy a child's output line by line until it ends."""

        def copy() -> None:
            with pipe:
                while line := pipe.readline(MAX_LINE):
                    self.child(name, line.decode("utf-8", "replace").rstrip())

        thread = threading.Thread(target=copy, name=f"output of {name}", daemon=True)
        thread.start()
        return thread
