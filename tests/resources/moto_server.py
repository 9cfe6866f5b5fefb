"""An S3 server on loopback, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import services


@contextmanager
def running(folder: Path, *argv: str, scheme: str = "http") -> Iterator[str]:
    """Its URL; forgets everything at its end."""
    port = services.free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), *argv]
    with services.running(command, port, folder / "moto.log"):
        yield f"{scheme}://127.0.0.1:{port}"
