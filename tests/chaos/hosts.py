"""Two hosts on one machine: each `manage.py serve` with a folder, a name and a clock of its own, on one database."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.services import ROOT
from tests.stack import Stack, group_members

SHIM = ROOT / "tests" / "chaos" / "shim"


class Clock:
    """How wrong a host's clock is, in seconds; its processes see a change at once."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(struct.pack("d", 0.0))
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    @property
    def offset(self) -> float:
        found: float = struct.unpack_from("d", self._memory)[0]
        return found

    def set(self, seconds: float) -> None:
        struct.pack_into("d", self._memory, 0, seconds)


@lru_cache(maxsize=1)
def can_name_hosts() -> bool:
    """Linux lets root give a process tree a host name of its own."""
    with contextlib.suppress(OSError):
        return subprocess.run(["unshare", "--uts", "true"], check=False, capture_output=True).returncode == 0
    return False


@dataclass
class Host:
    name: str
    stack: Stack
    clock: Clock
    frozen: set[int] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self.stack.url

    def part(self, name: str) -> int | None:
        """Process id of web, work or keep."""
        return self.stack.children().get(name)

    def pool(self) -> dict[str, Any]:
        """{main, sentinel, pusher, workers: [...]} as far as they live now."""
        main = self.part("work")
        sentinel = next(iter(_children(main)), None) if main else None
        below = _children(sentinel) if sentinel else []
        pusher = next((pid for pid in below if _listens(pid)), None)
        return {"main": main, "sentinel": sentinel, "pusher": pusher, "workers": [p for p in below if p != pusher]}

    def thaw(self) -> None:
        for pid in list(self.frozen):
            signal_process(pid, signal.SIGCONT)
        self.frozen.clear()


def make_host(name: str, folder: Path, *, database_url: str, env: dict[str, str], workers: int) -> Host:
    """Not started yet."""
    data = folder / name
    data.mkdir(parents=True)
    clock = Clock(folder / f"clock-{name}")
    prefix = ("unshare", "--uts", "sh", "-c", f'hostname host-{name}; exec "$@"', "sh") if can_name_hosts() else ()
    paths = [str(SHIM), str(ROOT)]  # the root for planted faults
    own = {"CHAOS_CLOCK": str(clock.path), "PYTHONPATH": os.pathsep.join(paths), "DEMO": "0", **env}
    stack = Stack(data, database_url=database_url, workers=workers, env=own, prefix=prefix)
    return Host(name, stack, clock)


def signal_process(pid: int | None, number: int, *, group: bool = False) -> bool:
    """False where it is gone already."""
    if not pid:
        return False
    try:
        os.killpg(pid, number) if group else os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _children(pid: int | None) -> list[int]:
    try:
        return sorted(int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return []


def _listens(pid: int) -> bool:
    """Has it the watcher's listening socket?"""
    listening = {
        line.split()[6]
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]
        if "/watch-" in line and line.split()[3] == "00010000"
    }
    return any(inode in listening for inode in _sockets(pid))


def _sockets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(link)
                if target.startswith("socket:["):
                    yield target[8:-1]


def living(pgid: int) -> list[int]:
    return group_members(pgid)
