"""Event commit -> browser frame, through a real daphne: mark (f) of `make bench`.

Each sample: this process commits one event; the clock runs from the return of the commit to the arrival of the notice
at each of N sockets, which live in a process of their own and belong to ten people. `python -m tests.bench.feed`
measures a bare daphne on both databases, without the rest of the stack.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

#: a plan without steps
EMPTY = {"language": 1, "flow": "x", "title": "", "steps": []}

SAMPLES = {1: 200, 300: 40}
PEOPLE = 10
QUIET = 0.15  # seconds between events: the feed has gone quiet again


async def _listen(address: str, cookies: list[str], run: str, sockets: int, pipe: Connection) -> None:
    """Send [(event id, monotonic time of arrival), …] of all sockets through the pipe when told to stop."""
    arrivals: list[tuple[int, float]] = []
    few = asyncio.Semaphore(50)

    async def opened(number: int) -> ClientConnection:
        headers = {"Cookie": cookies[number % len(cookies)]}
        origin = Origin(address.removesuffix("/ws/live").replace("ws://", "http://"))
        async with few:
            live = await connect(address, additional_headers=headers, origin=origin, open_timeout=30)
            await live.send(json.dumps({"subscribe": [f"run:{run}"]}))
            while json.loads(await live.recv())["type"] != "subscribed":
                pass
        return live

    async def hear(live: ClientConnection) -> None:
        async for text in live:
            notice = json.loads(text)
            if "topic" in notice:
                arrivals.append((notice["id"], time.monotonic()))

    lives = await asyncio.gather(*(opened(n) for n in range(sockets)))
    tasks = [asyncio.create_task(hear(live)) for live in lives]
    pipe.send("ready")
    while not pipe.poll():
        await asyncio.sleep(0.5)
    pipe.send(arrivals)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _listener(address: str, cookies: list[str], run: str, sockets: int, pipe: Connection) -> None:
    asyncio.run(_listen(address, cookies, run, sockets, pipe))


def measure(scale: float) -> dict[str, str]:
    """Against the stack of BASE_URL, in its environment."""
    address = os.environ["BASE_URL"].replace("http://", "ws://") + "/ws/live"
    cookies, run = _people_and_run()
    shown = {}
    for sockets, samples in SAMPLES.items():
        delays = sorted(_delays(address, cookies, run, sockets, max(10, int(samples * scale))))
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            shown[f"{name} at {sockets}"] = f"{delays[int(share * (len(delays) - 1))] * 1000:.1f} ms"
    return shown


def _delays(address: str, cookies: list[str], run: str, sockets: int, samples: int) -> list[float]:
    from django.db import transaction

    from runs import history

    here, there = multiprocessing.Pipe()
    arguments = (address, cookies, run, sockets, there)
    child = multiprocessing.get_context("spawn").Process(target=_listener, args=arguments, daemon=True)
    child.start()
    if not here.poll(120):
        sys.exit("the sockets did not open in time")
    here.recv()
    time.sleep(2)
    committed: dict[int, float] = {}
    for _ in range(samples):
        with transaction.atomic():
            history.append(run, "step.log", step="bench", data={})
            id_ = _newest_event()
        committed[id_] = time.monotonic()
        time.sleep(QUIET)
    time.sleep(1)
    here.send("stop")
    delays = [at - committed[i] for i, at in here.recv() if i in committed]
    child.join()
    if len(delays) != samples * sockets:
        sys.exit(f"{samples * sockets - len(delays)} frames were lost")
    return delays


def _newest_event() -> int:
    from runs.models import RunEvent

    return RunEvent.objects.order_by("-pk").values_list("pk", flat=True)[0]


def _people_and_run() -> tuple[list[str], str]:
    """(session cookies of ten people, a run they may see that has ended)."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User

    from flows.models import Flow, Release
    from resources.models import Grant
    from resources.people.sessions import SessionStore
    from runs.models import Run

    cookies = []
    for n in range(PEOPLE):
        user = User.objects.create_user(f"bench-{n}")
        Grant.objects.create(user=user, folder="bench", role="viewer")
        session = SessionStore()
        backend = settings.AUTHENTICATION_BACKENDS[0]
        session.update({SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: backend})
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    flow = Flow.objects.create(slug="bench-feed", folder="bench/feed")
    release = Release.objects.create(
        flow=flow,
        version="1.0.0",
        language=1,
        source="",
        plan_json=EMPTY,
        checksum="",
        revision=1,
    )
    run = Run.objects.create(
        flow=flow, release=release, status="succeeded", created_at=time.time(), ended_at=time.time()
    )
    return cookies, run.pk


def main(databases: list[str], scale: float) -> None:
    from tests import services
    from tests.feed.site import running_site

    code = f"import django; django.setup(); from tests.bench import feed; print(feed.measure({scale}))"
    for database in databases:
        with tempfile.TemporaryDirectory(prefix="feed-") as place, services.postgres() as server:
            url = server.new_database() if database == "postgres" else f"sqlite:///{place}/db.sqlite3"
            with running_site(Path(place), url, {}) as site:
                env = {
                    **os.environ,
                    "DATA_DIR": place,
                    "DATABASE_URL": url,
                    "BASE_URL": f"http://127.0.0.1:{site.port}",
                }
                env["DJANGO_SETTINGS_MODULE"] = "orchestra.settings"
                done = subprocess.run(
                    [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True, check=True
                )
                print(f"{database:9} {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    main(given.databases, given.scale)
