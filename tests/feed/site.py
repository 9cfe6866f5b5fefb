"""A real daphne over a database of its own, and a writer that is another process to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from websockets.asyncio.client import ClientConnection, connect

_SEED = """
import json, sys, time
import django; django.setup()
from django.conf import settings
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.contrib.auth.models import User
from resources.people.sessions import SessionStore
from django.core.management import call_command
from flows.models import Flow, Release
from resources.models import Grant
from runs.models import Run

#: a plan without steps
EMPTY = {"language": 1, "flow": "x", "title": "", "steps": []}
call_command("migrate", verbosity=0)
cookies = {}
for name, folder in json.loads(sys.argv[1]).items():
    user = User.objects.create_user(name)
    if folder is not None:
        Grant.objects.create(user=user, folder=folder, role="viewer")
    session = SessionStore()
    session.update({SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
                    HASH_SESSION_KEY: user.get_session_auth_hash()})
    session.create()
    cookies[name] = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
runs = {}
for slug, folder in (("pay", "payments/eu"), ("ops", "ops")):
    flow = Flow.objects.create(slug=slug, folder=folder)
    release = Release.objects.create(flow=flow, version="1.0.0", language=1, source="", plan_json=EMPTY, checksum="",
                                     revision=1)
    runs[slug] = Run.objects.create(flow=flow, release=release, status="running", created_at=time.time()).pk
print(json.dumps({"cookies": cookies, "runs": runs}))
"""
PEOPLE = {"paula": "payments", "otto": "ops", "nobody": None}
_INSERT = (
    "INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data) "
    "VALUES (%s, (SELECT coalesce(max(seq), 0) + 1 FROM runs_runevent), %s, 1, {false}, %s, -1, %s, '', '{{}}') "
    "RETURNING id"
)


@dataclass
class Site:
    """`cookies`: person -> cookie header; `runs`: flow slug -> run id."""

    port: int
    data_dir: Path
    url: str
    process: subprocess.Popen[bytes]
    cookies: dict[str, str]
    runs: dict[str, str]

    @property
    def postgres(self) -> bool:
        return self.url.startswith("postgres")

    def open(self, person: str | None, origin: str | None = None) -> Any:
        """A WebSocket as this person; use with `async with`."""
        headers = {"Cookie": self.cookies[person]} if person else {}
        address = f"ws://127.0.0.1:{self.port}/ws/live"
        return connect(address, additional_headers=headers, origin=origin or f"http://127.0.0.1:{self.port}")  # type: ignore[arg-type]

    def database(self) -> Any:
        """A connection of the test's own, autocommit."""
        if self.postgres:
            return psycopg.connect(self.url, autocommit=True)
        return sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None, timeout=20)

    def sql(self, text: str) -> str:
        return text if self.postgres else text.replace("%s", "?")

    def write(self, slug: str, type_: str = "step.succeeded", step: str = "deploy", *, ring: bool = True) -> int:
        """Commit one event and ring the bell; answers its id."""
        with contextlib.closing(self.database()) as db:
            id_ = self.insert(db, slug, type_, step)
        if ring:
            self.ring()
        return id_

    def insert(self, db: Any, slug: str, type_: str = "step.succeeded", step: str = "deploy") -> int:
        text = self.sql(_INSERT.format(false="false" if self.postgres else "0"))
        return int(db.execute(text, [self.runs[slug], type_, step, time.time()]).fetchone()[0])

    def ring(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
            for path in (self.data_dir / "bells").glob("web-*.sock"):
                bell.sendto(b".", str(path))


async def subscribe(live: ClientConnection, *topics: str, **more: Any) -> dict[str, Any]:
    """Say hello, subscribe; answers the server's `subscribed`."""
    hello = json.loads(await live.recv())
    assert hello["type"] == "hello"
    await live.send(json.dumps({"subscribe": list(topics), **more}))
    answer: dict[str, Any] = json.loads(await live.recv())
    assert answer["type"] == "subscribed"
    return {**answer, "id": hello["id"]}


@contextlib.contextmanager
def running_site(data_dir: Path, url: str, people: dict[str, str | None] | None = None) -> Iterator[Site]:
    env = {**os.environ, "DATA_DIR": str(data_dir), "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "orchestra.settings"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seed = [sys.executable, "-c", _SEED, json.dumps(PEOPLE if people is None else people)]
    seeded = subprocess.run(seed, env=env, capture_output=True, text=True, timeout=120)
    assert seeded.returncode == 0, seeded.stderr
    facts = json.loads(seeded.stdout)
    command = [
        sys.executable,
        "-m",
        "orchestra.web",
        "-v",
        "0",
        "-b",
        "127.0.0.1",
        "-p",
        str(port),
        "orchestra.asgi:application",
    ]
    process = subprocess.Popen(command, env=env)
    try:
        _await_ready(port, process)
        yield Site(port, data_dir, url, process, facts["cookies"], facts["runs"])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
            return
        assert process.poll() is None, "daphne ended"
        assert time.monotonic() < deadline, "daphne did not start"
        time.sleep(0.05)
