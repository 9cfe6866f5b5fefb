"""Who holds a lease: one worker process of one host, named so that no later process is taken for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final, Literal

#: characters of a host's name
_HOST: Final = 36


def process_start(pid: int) -> str:
    """When the kernel started it, in clock ticks since boot: with the pid it names one process. "" if it is gone, or
    killed and only not buried yet (a zombie)."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in ("Z", "X") else rest[18]
    except (OSError, IndexError, ValueError):
        return ""


def short(host: str) -> str:
    """A host's name as owners have it."""
    return host[:_HOST]


def owner_name() -> str:
    """host:pid:start — who this worker is, for ever."""
    return f"{short(socket.gethostname())}:{os.getpid()}:{process_start(os.getpid())}"


def host_of(owner: str) -> str:
    """Where this one works; "" where its name does not say."""
    parts = owner.rsplit(":", 2)
    return parts[0] if len(parts) == 3 else ""


def fate_of(owner: str, host: str) -> Literal["alive", "dead", "unknown"]:
    """What can be told of it on `host`; nothing of a worker elsewhere."""
    parts = owner.rsplit(":", 2)
    if len(parts) != 3 or parts[0] != short(host) or not parts[1].isdigit():
        return "unknown"
    started = process_start(int(parts[1]))
    return "alive" if started != "" and started == parts[2] else "dead"
