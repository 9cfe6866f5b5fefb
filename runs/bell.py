"""Doorbells: hints that something was committed. Losing every one of them costs latency, never work.

Each listening process of this host binds a Unix datagram socket in one directory; writers send it a byte after
their commit. On PostgreSQL, NOTIFY carries the hint to other hosts, at most every few milliseconds per process,
because it takes a global lock at commit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection, transaction

WORK: Final = "work"
EVENTS: Final = "web"
_LOOK_EVERY: Final = 1.0  # seconds between looks at who listens
_NOTIFY_EVERY: Final = 0.02  # seconds between NOTIFYs of one process and channel

_listeners: dict[str, list[str]] = {}
_looked_at = -1.0
_notified: dict[str, float] = {}
_sender: socket.socket | None = None
_sender_pid = 0


@lru_cache(maxsize=1)
def directory() -> Path:
    """Where the sockets live: in DATA_DIR, or under the temporary directory where that path is too long."""
    path = Path(settings.DATA_DIR) / "bells"
    if len(str(path)) > 70:  # a Unix socket's path holds 108 bytes
        name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"orchestra-{os.getuid()}-{name}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


class Listener:
    """A bound bell. `fileno()` for select and asyncio; `drain()` empties it."""

    def __init__(self, channel: str, name: str) -> None:
        self.path = directory() / f"{channel}-{name}.sock"
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(self.path))

    def fileno(self) -> int:
        return self.socket.fileno()

    def drain(self) -> bool:
        """True when it rang since the last look."""
        rang = False
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(16):
                rang = True
        return rang

    def close(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)


def ring(*channels: str, force: bool = False) -> None:
    """Tell this host's listeners, and other hosts through PostgreSQL. Call it after the commit."""
    for channel in channels:
        _ring_here(channel)
    if connection.vendor == "postgresql":
        _ring_elsewhere(channels, force)


def ring_on_commit(*channels: str) -> None:
    """Ring once the caller's transaction has committed (at once outside of one)."""
    transaction.on_commit(_ringer(channels))


def _ringer(channels: tuple[str, ...]) -> Callable[[], None]:
    return lambda: ring(*channels, force=True)


def _ring_here(channel: str) -> None:
    for path in _paths(channel):
        try:
            _socket().sendto(b".", path)
        except BlockingIOError:
            pass  # its buffer is full: it will look anyway
        except OSError:
            with contextlib.suppress(ValueError):
                _listeners.get(channel, []).remove(path)


def _ring_elsewhere(channels: Sequence[str], force: bool) -> None:
    """In one round trip. What is left out now: followers look by themselves every 100 ms while somebody watches."""
    due = [name for name in channels if force or is_due(name)]
    if not due:
        return
    told(*due)
    sql = "SELECT " + ", ".join(NOTIFY[name] for name in due)
    if not connection.in_atomic_block:  # a hint waits for no disk, nor do those who notify after it
        sql += ", set_config('synchronous_commit', 'off', true)"
    with contextlib.suppress(DatabaseError):
        connection.ensure_connection()
        with connection.wrap_database_errors:
            import psycopg

            psycopg.Cursor(connection.connection).execute(sql.encode(), prepare=True)


def is_due(channel: str) -> bool:
    """Has no NOTIFY of this process gone out just now?"""
    return time.monotonic() - _notified.get(channel, 0.0) >= _NOTIFY_EVERY


def told(*channels: str) -> None:
    """A NOTIFY of these has gone out."""
    _notified.update(dict.fromkeys(channels, time.monotonic()))


NOTIFY: Final = {WORK: "pg_notify('orchestra_work', '')", EVENTS: "pg_notify('orchestra_events', '')"}


def _paths(channel: str) -> list[str]:
    global _looked_at
    now = time.monotonic()
    if now - _looked_at > _LOOK_EVERY or _looked_at < 0:
        _looked_at = now
        _listeners.clear()
        for path in directory().glob("*.sock"):
            _listeners.setdefault(path.name.partition("-")[0], []).append(str(path))
    return list(_listeners.get(channel, ()))


def _socket() -> socket.socket:
    global _sender, _sender_pid
    if _sender is None or _sender_pid != os.getpid():  # never shared over a fork
        _sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        _sender.setblocking(False)
        _sender_pid = os.getpid()
    return _sender
