"""Tests of load run on both databases in one go: `database` is SQLite, then PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.databases import Templates, connected


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, templates: Templates, django_db_blocker: Any) -> Iterator[str]:
    """URL of a fresh database; this process is connected to it."""
    with django_db_blocker.unblock():
        url = templates.copy(request.param)
        with connected(url):
            yield url
        templates.drop(url)
