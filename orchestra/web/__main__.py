"""`python -m orchestra.web` takes daphne's arguments."""

from __future__ import annotations

import gc

gc.disable()  # orchestra/gate.py switches it on

from orchestra.web.server import Command  # noqa: E402

if __name__ == "__main__":
    Command.entrypoint()
