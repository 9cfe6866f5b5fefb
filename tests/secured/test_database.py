"""TLS to PostgreSQL: the whole program over it with client certificates, and what a person reads who got it wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.engine.databases import worker_url
from tests.role.program import Program
from tests.services import ROOT, Postgres
from tests.stack import Stack
from tests.tls import Authority, Front, Pair, front

FLOW = """
flow: plain
folder: payments
steps:
  - {id: count, kv: {increment: {key: runs}}}
  - {id: nap, sleep: 1s}
  - {id: think, function: {code: "1 + 1"}}
"""


@pytest.fixture(scope="module")
def server(postgres_server: Postgres, authority: Authority) -> Iterator[Front]:
    """TLS in front of the real server, which is built without; it wants a certificate of its clients, too."""
    context = authority.pair("localhost").context(clients=authority)
    with front(context, postgres_server.port, asks=True) as running:
        yield running


def over_tls(url: str, server: Front, authority: Authority, mine: Pair, host: str = "localhost") -> str:
    """The same database through the front, as an admin would write it."""
    parts = urlsplit(url)
    place = f"{parts.username}:{parts.password}@{host}:{server.port}"
    query = f"sslmode=verify-full&sslrootcert={authority.file}&sslcert={mine.certificate}&sslkey={mine.key}"
    return urlunsplit(parts._replace(scheme="postgres", netloc=place, query=query))


@pytest.mark.stack
def test_the_whole_program_works_over_checked_tls_with_client_certificates(
    postgres_server: Postgres, server: Front, authority: Authority, mine: Pair, tmp_path: Path
) -> None:
    plain = postgres_server.new_database()
    url = over_tls(plain, server, authority, mine)
    env = {"WORKER_DATABASE_URL": over_tls(worker_url(plain), server, authority, mine), "START_SECONDS": "300"}
    with Stack(tmp_path, url, workers=2, env=env, start_seconds=300.0) as stack:
        program = Program(stack)
        run = program.start(program.release(FLOW))
        assert program.ended(run)["status"] == "succeeded"
        assert server.heard > 0


def prepare(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATABASE_URL": url, "DATA_DIR": str(folder), "DEMO": "0"}
    env |= {"DJANGO_SETTINGS_MODULE": "orchestra.settings"}
    argv = [sys.executable, "manage.py", "prepare"]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=150, check=False)


@pytest.mark.parametrize("wrong", ["authority", "name", "file", "password"])
def test_what_is_wrong_with_it_is_one_sentence_and_nothing_is_changed(
    postgres_server: Postgres,
    server: Front,
    authority: Authority,
    mine: Pair,
    stranger: Authority,
    tmp_path: Path,
    wrong: str,
) -> None:
    plain = postgres_server.new_database()
    url = over_tls(plain, server, authority, mine, "127.0.0.1" if wrong == "name" else "localhost")
    password = urlsplit(plain).password or "?"
    if wrong == "password":
        url = url.replace(password, "not-the-password")
    trusted = {"authority": str(stranger.file), "file": "/nowhere/ca.pem"}.get(wrong, str(authority.file))
    before = server.heard
    done = prepare(url.replace(str(authority.file), trusted), tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert password not in done.stderr
    if wrong == "password":
        assert "cannot be used" in done.stderr and "Look at DATABASE_URL" in done.stderr
    else:
        assert "cannot be trusted as sslmode=verify-full asks" in done.stderr
        assert "sslrootcert" in done.stderr
        assert server.heard == before
    with psycopg.connect(plain) as session:
        assert session.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
