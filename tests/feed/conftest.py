from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.feed.site import Site, running_site


@pytest.fixture(scope="session")
def postgres_site(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE feed")
    url = postgres_server.replace("/postgres?", "/feed?")
    with running_site(tmp_path_factory.mktemp("feed-pg"), url) as site:
        yield site


@pytest.fixture(scope="session")
def sqlite_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("feed")
    with running_site(place, f"sqlite:///{place}/db.sqlite3") as site:
        yield site


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found
