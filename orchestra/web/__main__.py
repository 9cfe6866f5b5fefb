"""`python -m orchestra.web` takes daphne's arguments."""

from __future__ import annotations

from orchestra.web.server import Command

if __name__ == "__main__":
    Command.entrypoint()
