"""A MariaDB of the tests' own: a throwaway server in a folder of its own, on a free port of loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import START_SECONDS, DidNotStart, free_port, running, told

_SCRIPTS = ("/usr/share/mysql", "/usr/share/mariadb", "/usr/local/share/mysql", "/usr/share/mysql-common")
#: it is asked to run as whoever runs the tests, root too: it is a throwaway, on loopback, with a password
_COMMON = ["--no-defaults", *(["--user=root"] if os.geteuid() == 0 else [])]
_MISSING = "MariaDB is not installed; run `make mariadb`, or install your system's package mariadb-server-core."


@dataclass(frozen=True, slots=True)
class MariaDb:
    """`user` may do all. `pid`: of the server."""

    port: int
    user: str
    password: str
    pid: int

    def connect(self, database: str | None = None) -> Any:
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=self.user, password=self.password, database=database,
            autocommit=True, ssl_disabled=True,
        )  # fmt: skip

    def run(self, *statements: str, database: str | None = None) -> list[tuple[object, ...]]:
        """Execute as the server's owner; the rows of the last."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def new_database(self) -> str:
        name = f"t{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name


def _program(*names: str) -> str:
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"])
    found = next((path for name in names if (path := shutil.which(name, path=places))), None)
    if found is None:
        raise DidNotStart(_MISSING)
    return found


@contextlib.contextmanager
def mariadb(settings: Mapping[str, str] | None = None) -> Iterator[MariaDb]:
    """`settings`: more options of the server, such as ssl-ca. Raises DidNotStart with what to install."""
    server = _program("mariadbd", "mysqld")
    with tempfile.TemporaryDirectory(prefix="orchestra-my-") as folder, contextlib.ExitStack() as stack:
        home, port, password = Path(folder), free_port(), secrets.token_hex(12)
        with told("MariaDB"):
            _install(server, home)
            init = home / "init.sql"
            made = f"CREATE USER tester@'%' IDENTIFIED BY '{password}';"
            init.write_text(f"{made}\nGRANT ALL ON *.* TO tester@'%' WITH GRANT OPTION;\n")
            options = {
                "datadir": str(home / "data"), "port": str(port), "bind-address": "127.0.0.1",
                "socket": str(home / "s"),
                "pid-file": str(home / "pid"), "init-file": str(init), "innodb-flush-log-at-trx-commit": "0",
                "innodb-buffer-pool-size": "32M", "innodb-log-file-size": "8M", "performance-schema": "OFF",
                "skip-name-resolve": "1", **(settings or {}),
            }  # fmt: skip
            argv = [server, *_COMMON, *(f"--{name}={value}" for name, value in options.items())]
            process = stack.enter_context(running(argv, port, home / "log", end=signal.SIGTERM))
            found = MariaDb(port, "tester", password, process.pid)
            _wait(found, home / "log")
        yield found


def _install(server: str, home: Path) -> None:
    """The tables of the server itself, from the scripts that come with it."""
    scripts = next((p for p in map(Path, _SCRIPTS) if (p / "mysql_system_tables.sql").exists()), None)
    if scripts is None:
        raise DidNotStart(_MISSING)
    (home / "data").mkdir()
    names = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
    sql = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
    sql += "\n".join((scripts / name).read_text() for name in names)
    argv = [
        server,
        *_COMMON,
        "--bootstrap",
        f"--datadir={home / 'data'}",
        "--innodb-log-file-size=8M",
        "--silent-startup",
    ]
    done = subprocess.run(argv, input=sql, cwd="/", check=False, capture_output=True, text=True)
    if done.returncode:
        raise DidNotStart((done.stdout + done.stderr)[-2000:])


def _wait(server: MariaDb, log: Path) -> None:
    """The port opens before the user of the tests is made."""
    import pymysql

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            server.run("SELECT 1")
            return
        except pymysql.err.OperationalError as error:
            if time.monotonic() > end:
                raise DidNotStart(log.read_text(errors="replace")[-2000:]) from error
            time.sleep(0.05)
