"""The web process alone, as it is served (daphne), with a demo workspace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import free_port, running


@dataclass(frozen=True, slots=True)
class Web:
    """`url` without a slash at the end; `info`: what `demo_info` prints."""

    url: str
    environment: dict[str, str]
    info: dict[str, Any]
    pid: int

    def manage(self, *words: str) -> str:
        return _manage(self.environment, *words)


def _manage(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *words], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


@contextmanager
def web(data: Path, **more: str) -> Iterator[Web]:
    """Migrated, filled with the demo workspace, listening; ended at the end. `more`: of its environment."""
    port = free_port()
    for folder in (data, data / "static"):
        folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ, "DATA_DIR": str(data), "DATABASE_URL": f"sqlite:///{data / 'web.sqlite3'}", "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}", "DEMO": "1", "MALLOC_ARENA_MAX": "2",
        "DJANGO_SETTINGS_MODULE": "orchestra.settings", **more,
    }  # fmt: skip
    info = json.loads(_manage(environment, "prepare"))
    argv = ["env", *(f"{k}={v}" for k, v in environment.items() if k in (*_PASSED, *more)), sys.executable]
    argv += ["-m", "orchestra.web", "-b", "127.0.0.1", "-p", str(port), "orchestra.asgi:application"]
    with running(argv, port, data / "web.log") as process:
        yield Web(f"http://127.0.0.1:{port}", environment, info, process.pid)


_PASSED = ("MALLOC_ARENA_MAX", "DATA_DIR", "DATABASE_URL", "PORT", "PUBLIC_URL", "DEMO", "DJANGO_SETTINGS_MODULE")
