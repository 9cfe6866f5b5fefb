"""Fixtures for all tests. DATABASE_URL chooses the database of the Django tests (`make test-postgres`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.engine.databases import Templates  # needs Django, which is not set up yet when this file is read

pytest_plugins = ["tests.append_only"]
# how long an example takes says how busy the machine is
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
#: files that take longest: of several processes, none is left alone with them at the end
LONGEST = (
    "test_schemathesis.py",
    "test_browser.py",
    "test_kills.py",
    "test_short.py",
    "test_editor_browser.py",
    "test_resources_browser.py",
    "test_jobs.py",
    "test_everywhere.py",
    "test_migrations.py",
    "test_whole_program.py",
    "test_serve.py",
    "test_drain.py",
)


@pytest.fixture(autouse=True)
def nothing_is_cached() -> None:
    """What one test left in memory: counted sign-ins, and the plans of releases whose ids another test uses again."""
    from django.core.cache import cache

    from runs import permits, ranks, store

    cache.clear()
    store.plan_of.cache_clear()
    permits.forget()
    ranks.forget()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked `also_sealed` runs twice: with payloads in the open, and sealed at rest (ENCRYPT_PAYLOADS)."""
    if metafunc.definition.get_closest_marker("also_sealed"):
        metafunc.fixturenames.append("at_rest")
        metafunc.parametrize("at_rest", ["open", "sealed"], indirect=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where few are asked for by a mark (`make test`), a file that never names it is not even imported."""
    mark = {"db_matrix": "mark.db_matrix", "stack and browser": "mark.stack"}.get(config.option.markexpr)
    if mark is None or collection_path.suffix != ".py":
        return None
    return None if mark in collection_path.read_text() else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first. What runs on SQLite and PostgreSQL by its own parameter has nothing to gain from
    `make test-postgres`."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
    for item in items:
        parameters = getattr(item, "callspec", None)
        if item.get_closest_marker("db_matrix") and parameters is not None and "database" in parameters.params:
            raise pytest.UsageError(f"{item.nodeid} runs on both databases already: leave db_matrix out.")


@pytest.fixture
def at_rest(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.ENCRYPT_PAYLOADS = request.param == "sealed"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[object]:
    """A tests.services.Postgres for this session; `new_database()` gives each test its own."""
    from tests import services

    with services.postgres(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Templates:
    """`copy("sqlite" | "postgres")` gives the URL of a migrated database of the test's own, without migrating again."""
    from tests.engine.databases import Templates

    return Templates(tmp_path_factory.mktemp("databases"), lambda: request.getfixturevalue("postgres_server"))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    from tests import services

    with services.redis() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[object]:
    """A tests.mariadb.MariaDb for this session; `new_database()` gives each test its own."""
    from tests.mariadb import mariadb

    with mariadb() as server:
        yield server


@pytest.fixture
def world_url(tmp_path: Path) -> Iterator[str]:
    """A demo world of this test alone, with no effects yet."""
    from tests import services

    with services.world(tmp_path / "world") as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> str | None:
    """Path of the browser for Playwright's `executable_path`; None lets it use its own."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)
