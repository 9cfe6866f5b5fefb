from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resources.access import Actor
from resources.connections import create_connection
from resources.secrets import set_secret
from tests.families import databases, sshd
from tests.families.databases import Database
from tests.families.outside import Outside, serve

SECRET = "s3cr3t-Token/with+signs"


@pytest.fixture
def outside() -> Iterator[Outside]:
    with serve() as server:
        yield server


@pytest.fixture
def connect(db: None, outside: Outside) -> Callable[..., str]:
    """Make a connection to the server of the test; more keywords are more settings."""

    def make(name: str = "world", *, path: str = "/api", **settings: Any) -> str:
        admin = Actor.system("tests")
        if settings.get("auth"):
            set_secret(actor=admin, name=settings["auth"]["secret"], value=SECRET)
        base = {"base_url": outside.url + path, "allow_networks": ["127.0.0.0/8"]}
        create_connection(actor=admin, name=name, kind="http", settings={**base, **settings})
        return name

    return make


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    """One sshd for all tests that do not end it."""
    with sshd.serve(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def box(db: None, server: sshd.Sshd) -> Callable[..., str]:
    """Make an ssh connection to the server of the tests; keywords change its settings."""

    def make(name: str = "box", key: str = server.private_key, **settings: Any) -> str:
        admin = Actor.system("tests")
        set_secret(actor=admin, name="ssh-key", value=key)
        create_connection(actor=admin, name=name, kind="ssh", settings=server.settings(**settings))
        return name

    return make


@pytest.fixture(params=databases.KINDS)
def database(request: pytest.FixtureRequest, db: None) -> Database:
    """A database of each kind, with the connection `shop` to it."""
    if request.param == "postgres":
        return databases.postgres_database(request.getfixturevalue("postgres_server"))
    if request.param == "mysql":
        return databases.mysql_database(request.getfixturevalue("mariadb_server"))
    return databases.sqlite_database(f"t{uuid.uuid4().hex}")


@pytest.fixture
def postgres_db(postgres_server: Any, db: None) -> Database:
    return databases.postgres_database(postgres_server)


@pytest.fixture
def mysql_db(mariadb_server: Any, db: None) -> Database:
    return databases.mysql_database(mariadb_server)


@pytest.fixture
def sqlite_db(db: None) -> Database:
    return databases.sqlite_database(f"t{uuid.uuid4().hex}")
