from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.feed.site import Site, running_site
from tests.services import Postgres


@pytest.fixture(scope="session")
def postgres_site(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("feed-pg"), postgres_server.new_database()) as site:
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
