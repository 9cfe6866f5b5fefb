"""The whole program as a person starts it: `manage.py serve` in a folder of its own, on free ports."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestra.supervisor.child import leash
from tests.services import ROOT, DidNotStart, free_port, told

READY = "Orchestra is ready at "
#: never handed on: a test's own database, keys and ports must not leak into the program under test
OWN = (
    "DJANGO_SETTINGS_MODULE",
    "DATABASE_URL",
    "WORKER_DATABASE_URL",
    "REDIS_URL",
    "DATA_DIR",
    "PORT",
    "WORKERS",
    "SECRET_KEY",
    "PUBLIC_URL",
    "DEMO",
    "WORLD_URL",
)


@dataclass
class Stack:
    """Use as a context manager. `database_url` empty: SQLite in `data_dir`. `env`: more environment.

    `prefix`: words before the command, such as a namespace's.

    `with Stack(tmp_path, workers=2) as stack:` then `stack.url`, `stack.demo_info()`, `stack.children()`.
    Raises DidNotStart with the program's output.
    """

    data_dir: Path
    database_url: str = ""
    workers: int = 2
    env: dict[str, str] = field(default_factory=dict)
    port: int = 0
    start_seconds: float = 200.0
    prefix: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name not in OWN}
        env |= {"DATA_DIR": str(self.data_dir), "PORT": str(self.port), "WORKERS": str(self.workers)}
        env |= {"START_SECONDS": str(self.start_seconds), **self.env}
        return env | ({"DATABASE_URL": self.database_url} if self.database_url else {})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        self.port = self.port or free_port()
        with told("Orchestra"):
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "manage.py", "serve"],
                cwd=ROOT,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=leash(os.getpid(), signal.SIGTERM),
            )
            self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self.process, arrived), daemon=True).start()
        end = time.monotonic() + self.start_seconds
        while time.monotonic() < end:
            try:
                line = arrived.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                break
            if line is None:
                break
            if line.startswith(READY):
                return
        self.stop()
        raise DidNotStart("\n".join(self.lines))

    def _read(self, process: subprocess.Popen[str], arrived: queue.SimpleQueue[str | None]) -> None:
        if process.stdout is not None:
            with process.stdout:
                for line in process.stdout:
                    self.lines.append(line.rstrip("\n"))
                    arrived.put(self.lines[-1])
        arrived.put(None)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Ask it to stop and wait; its exit code. Kills it, and everything it started, when the time is up."""
        if self.process.poll() is None:
            groups = self.children()
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                for pid in [self.process.pid, *groups.values()]:
                    os.killpg(pid, signal.SIGKILL)
                self.process.wait()
        return self.process.returncode

    def children(self) -> dict[str, int]:
        """Name (web, work, keep, world) -> process id of the main process, which is its process group's id, too."""
        marks = {"orchestra.web": "web", "qcluster": "work", "keeper": "keep", "orchestra.world": "world"}
        found: dict[str, int] = {}
        for pid in _children_of(self.process.pid):
            with contextlib.suppress(OSError):  # it has ended since it was listed
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                found |= {name: pid for mark, name in marks.items() if mark in command}
        return found

    def manage(self, *arguments: str) -> str:
        """Output of a management command in this instance's environment."""
        argv = [sys.executable, "manage.py", *arguments]
        return subprocess.run(argv, cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=True).stdout

    def demo_info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads(self.manage("demo_info"))
        return info


def _children_of(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it is not there, or no more
        return []


def group_members(pgid: int) -> list[int]:
    """Ids of the living processes of a group."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pgid and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members
