"""Databases that db steps talk to: one of each kind, each test its own, with a table of orders."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings

from resources.access import Actor
from resources.connections import create_connection
from resources.secrets import set_secret
from tests.mariadb import MariaDb
from tests.services import Postgres

KINDS = ("postgres", "mysql", "sqlite")
_made: dict[str, str] = {}
ADMIN = Actor.system("tests")
ORDERS = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE, paid INTEGER NOT NULL)",
    "INSERT INTO orders VALUES (1, 'anna', 1), (2, 'bo', 0), (3, 'cyd', 0)",
)


@dataclass
class Database:
    """`run`: executes as somebody else would, committed at once; the rows of the last. `name` of the connection."""

    kind: str
    name: str
    run: Callable[..., list[Any]]
    open: Callable[[], Any]
    made: dict[str, Any] = field(default_factory=dict)

    def connect(self, name: str, **changed: Any) -> str:
        create_connection(actor=ADMIN, name=name, kind=self.kind, settings={**self.made, **changed})
        return name

    def names(self) -> list[str]:
        return [row[0] for row in self.run("SELECT name FROM orders ORDER BY id")]


def postgres_database(server: Postgres) -> Database:
    """The database is made once, as that takes a while; its tables are each test's own."""
    url = _made.setdefault(server.url, "") or server.new_database()
    _made[server.url] = url

    def run(*statements: str) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as connection:
            cursors = [connection.execute(statement) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else []

    parts = urlsplit(url)
    set_secret(actor=ADMIN, name="pg-password", value=parts.password or "")
    made = {
        "host": "127.0.0.1", "port": parts.port, "database": parts.path[1:], "username": parts.username,
        "secret": "pg-password", "tls": "off", "allow_networks": ["127.0.0.0/8"],
    }  # fmt: skip
    run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return _ready(Database("postgres", "shop", run, lambda: psycopg.connect(url), made))


def mysql_database(server: MariaDb) -> Database:
    name = server.new_database()
    set_secret(actor=ADMIN, name="my-password", value=server.password)
    made = {
        "host": "127.0.0.1", "port": server.port, "database": name, "username": server.user, "secret": "my-password",
        "tls": "off", "allow_networks": ["127.0.0.0/8"],
    }  # fmt: skip

    def open_() -> Any:
        connection = server.connect(name)
        connection.autocommit(False)
        return connection

    return _ready(Database("mysql", "shop", lambda *s: server.run(*s, database=name), open_, made))


def sqlite_database(name: str) -> Database:
    folder = Path(settings.DATA_DIR) / "databases"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.sqlite3"
    path.unlink(missing_ok=True)
    path.touch()

    def run(*statements: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            return [connection.execute(statement).fetchall() for statement in statements][-1]

    return _ready(Database("sqlite", "shop", run, lambda: sqlite3.connect(path), {"file": path.name}))


def _ready(database: Database) -> Database:
    database.run(*ORDERS)
    database.connect(database.name)
    return database
