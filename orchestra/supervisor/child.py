"""One child process in a session of its own, so that what it leaves behind can be found and ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra.gate import GATE
from orchestra.supervisor.config import restart_delay
from orchestra.supervisor.console import Console

PR_SET_PDEATHSIG = 1
STEADY_SECONDS = 60.0
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def leash(parent: int, number: int) -> Callable[[], None] | None:
    """What a child runs before its program: it gets signal `number` when the supervisor dies, even by SIGKILL."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # died in between
            os._exit(1)

    return tie


@dataclass(frozen=True, slots=True)
class Spec:
    """`orphan_signal`: what it gets when the supervisor is killed. `processes`: how many it has once it is up.
    `gate`: where it waits (orchestra/gate.py) when it was started before the database is ready; "": nowhere."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    orphan_signal: signal.Signals = signal.SIGKILL
    processes: int = 1
    gate: str = ""


@dataclass(slots=True)
class Child:
    spec: Spec
    env: Mapping[str, str]
    console: Console
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    restart_at: float | None = None

    def start(self, *, held: bool = False) -> None:
        """Must be called from the main thread: the leash is tied to the thread that forks. `held`: until `let_go`."""
        self.restart_at, self.started_at = None, time.monotonic()
        self.process = subprocess.Popen(
            self.spec.argv,
            cwd=self.spec.cwd,
            env={**self.env, **({GATE: self.spec.gate} if held else {})},
            stdin=subprocess.PIPE if held else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=leash(os.getpid(), self.spec.orphan_signal),
        )
        if not held:
            self._show()

    def let_go(self) -> None:
        """Open its gate: the end of its input. What it said until now is shown only now: where the database cannot be
        prepared, whoever prepares it says why, and others not the same again."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self._show()

    def _show(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.console.pump(self.spec.name, self.process.stdout)

    def reap(self) -> int | None:
        """The exit code if the main process has ended; then the rest of its group is gone, too."""
        if self.process is None or not _has_exited(self.process.pid):
            return None
        self.kill_group()  # before the pid is free again, so it cannot mean somebody else
        code, self.process = self.process.wait(), None
        return code

    def plan_restart(self, now: float) -> float:
        """Note a death and say in how many seconds it starts again."""
        self.failures = 1 if now - self.started_at > STEADY_SECONDS else self.failures + 1
        delay = restart_delay(self.failures)
        self.restart_at = now + delay
        return delay

    def ask_to_stop(self) -> None:
        """SIGTERM to the main process alone: a cluster whose whole group gets it never ends."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGTERM)  # send_signal would reap one that has ended: nothing is swept up

    def kill_group(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: zombies alone, on macOS
                os.killpg(self.process.pid, signal.SIGKILL)

    def is_complete(self) -> bool:
        """All the processes it is made of are there."""
        return self.process is not None and group_size(self.process.pid) >= self.spec.processes


def _has_exited(pid: int) -> bool:
    """Without reaping: the pid stays taken until its group is swept."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)  # noqa: S607
        return not state.stdout.strip() or state.stdout.strip().startswith(b"Z")
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def group_size(pgid: int) -> int:
    """How many processes belong to this group."""
    if not os.path.isdir("/proc/self"):
        listed = subprocess.run(["ps", "-A", "-o", "pgid="], capture_output=True, check=True).stdout.split()  # noqa: S607
        return listed.count(str(pgid).encode())
    return sum(1 for stat in Path("/proc").glob("[0-9]*/stat") if _group_of(stat) == pgid)


def _group_of(stat: Path) -> int:
    """Field 5 of /proc/PID/stat; the name in field 2 may hold anything, so count from its closing bracket."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[2])
    except OSError:  # ended in between
        return 0
