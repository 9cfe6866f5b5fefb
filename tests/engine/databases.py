"""The default connection of this process on a database of its own, SQLite or PostgreSQL, migrated once a session."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import environ
import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections

from orchestra.role import grants
from orchestra.role.login import read_login
from orchestra.settings import POSTGRES_OPTIONS, SQLITE_OPTIONS
from runs import clock, permits, ranks, store
from runs.worker import Worker

#: who clusters of workers sign in as on PostgreSQL
WORKER_ROLE: Final = "orchestra_worker"
_WORKER_PASSWORD: Final = "of-the-tests-alone"


@contextlib.contextmanager
def connected(url: str) -> Iterator[None]:
    """`django.db.connection` speaks to `url` inside the body, in every thread that opens it there."""
    before, settings = connections["default"], connections.settings["default"]
    parsed = environ.Env.db_url_config(url)
    if parsed["ENGINE"].endswith("sqlite3"):
        parsed["ENGINE"], parsed["OPTIONS"] = "resources.sqlite3", dict(SQLITE_OPTIONS)
    else:
        parsed["OPTIONS"] = dict(POSTGRES_OPTIONS)
    connections.settings["default"] = {**settings, **parsed}
    connections["default"] = connections.create_connection("default")
    _forget()
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = settings
        connections["default"] = before
        _forget()


@contextlib.contextmanager
def restricted_workers() -> Iterator[None]:
    """Workers of this process do their work under the role that clusters of workers sign in as."""
    work_once = Worker.work_once

    def restricted(self: Worker) -> bool:
        connection = connections["default"]
        if connection.vendor != "postgresql":
            return work_once(self)
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {WORKER_ROLE}")
        try:
            return work_once(self)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "work_once", restricted)
        yield


def _forget() -> None:
    """What this process remembers of another database."""
    store.plan_of.cache_clear()
    clock.forget()
    ranks.forget()
    permits.forget()
    ContentType.objects.clear_cache()


def worker_url(url: str) -> str:
    """The URL under which workers run, as with WORKER_DATABASE_URL; SQLite has no roles."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgres"):
        return url
    place = f"{parts.hostname}:{parts.port}"
    return urlunsplit(parts._replace(netloc=f"{WORKER_ROLE}:{_WORKER_PASSWORD}@{place}"))


def let_workers_in(url: str) -> None:
    """The restricted role on a migrated PostgreSQL, which is the default connection now."""
    grants.give(read_login(worker_url(url), connections["default"].settings_dict))


class Templates:
    """One migrated database of each kind; `copy` gives the URL of a fresh one.

    Those of PostgreSQL have the restricted role of workers, which all clusters of the tests run under: `worker_url`.
    """

    def __init__(self, folder: Path, server: Any) -> None:
        self.folder, self.server = folder, server
        self.made: dict[str, str] = {}

    def copy(self, kind: str) -> str:
        if kind not in self.made:
            self.made[kind] = self._make(kind)
        if kind == "sqlite":
            path = Path(tempfile.mkdtemp(dir=self.folder)) / "db.sqlite3"
            shutil.copy(self.made[kind], path)
            return f"sqlite:///{path}"
        return str(self.server().new_database(template=self.made[kind].rpartition("/")[2]))

    def drop(self, url: str) -> None:
        """A copy that nobody needs any more: hundreds of them are much to keep, and take long to delete at the end."""
        if url.startswith("sqlite"):
            shutil.rmtree(Path(url.removeprefix("sqlite:///")).parent)
            return
        import psycopg

        with psycopg.connect(self.server().url, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def _make(self, kind: str) -> str:
        path = self.folder / "template.sqlite3"
        url = f"sqlite:///{path}" if kind == "sqlite" else self.server().new_database()
        with connected(url):
            call_command("migrate", verbosity=0)
            if kind == "postgres":
                let_workers_in(url)
        if kind == "sqlite":
            return str(path)
        return str(url)
