from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.databases import Templates
from tests.feed.site import Site, running_site


def started(kind: str, folder: Path, templates: Templates, blocker: Any) -> Iterator[Site]:
    with blocker.unblock():
        url = templates.copy(kind)
    with running_site(folder, url) as site:
        yield site


@pytest.fixture(scope="session")
def postgres_site(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> Iterator[Site]:
    yield from started("postgres", tmp_path_factory.mktemp("feed-pg"), templates, django_db_blocker)


@pytest.fixture(scope="session")
def sqlite_site(
    templates: Templates, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> Iterator[Site]:
    yield from started("sqlite", tmp_path_factory.mktemp("feed"), templates, django_db_blocker)


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found
