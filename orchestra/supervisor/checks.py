"""What has to hold before anything is started. Each check raises CannotStart with one sentence."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path
from typing import IO

from orchestra.supervisor.config import CannotStart, Config

LOCK = "serve.lock"


def preflight(config: Config) -> IO[str]:
    """Python, DATA_DIR, the lock on it, the port, in this order. Returns the open lock: keep it while serving."""
    check_python(sys.version_info[:2])
    check_data_dir(config.data_dir)
    lock = take_lock(config.data_dir)
    check_port(config.host, config.port)
    return lock


def check_python(version: tuple[int, int]) -> None:
    if version < (3, 11):
        raise CannotStart(f"Orchestra needs Python 3.11 or newer; this is {version[0]}.{version[1]}.")


def check_data_dir(path: Path) -> None:
    probe = path / f".probe.{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotStart(
            f"DATA_DIR {path} cannot be written ({reason}); set DATA_DIR to a folder of yours."
        ) from error


def take_lock(path: Path) -> IO[str]:
    """The system drops the lock when this process ends, however it ends."""
    lock = open(path / LOCK, "a+")  # noqa: SIM115  open for as long as we serve
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise CannotStart(
            f"DATA_DIR {path} is in use by another Orchestra (process {holder}); stop it or set another DATA_DIR."
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def check_port(host: str, port: int) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotStart(f"Port {port} on {host} cannot be used ({reason}); set PORT to a free one.") from error


def free_port(preferred: int) -> int:
    """`preferred` where it is free, else any free port of loopback."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise CannotStart("No free port is left on 127.0.0.1.")
