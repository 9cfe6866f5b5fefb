"""Event commit -> browser frame, through a real daphne. `python -m tests.bench.feed [sqlite|postgres …]`.

Each sample: a process commits one event and rings the bell; the clock runs from the return of the commit to the arrival
of the notice at each of N sockets on one run (the last of them for "all"). The sockets live in a process of their own.
Prints one row for each database and number of sockets: milliseconds, p50 and p99 over all frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests import services
from tests.feed.site import Site, running_site, subscribe

SAMPLES = {1: 200, 300: 40}
PEOPLE = 10  # the sockets belong to so many different people
GAP = 0.15  # seconds between events: the feed has gone quiet again


async def _listen(site: Site, sockets: int, pipe: Connection) -> None:
    """Send [(event id, monotonic time of arrival), …] of each socket through the pipe when told to stop."""
    run = f"run:{site.runs['pay']}"
    arrivals: list[tuple[int, float]] = []

    async def one(number: int, up: asyncio.Semaphore) -> None:
        async with site.open(f"p{number % PEOPLE}") as live:
            async with up:
                await subscribe(live, run)
            ready.release()
            async for text in live:
                notice = json.loads(text)
                if "id" in notice:
                    arrivals.append((notice["id"], time.monotonic()))

    ready = asyncio.Semaphore(0)
    few = asyncio.Semaphore(50)
    tasks = [asyncio.create_task(one(n, few)) for n in range(sockets)]
    for _ in range(sockets):
        await ready.acquire()
    pipe.send("ready")
    while not pipe.poll():
        await asyncio.sleep(0.5)
    pipe.send(arrivals)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _listener(site: Site, sockets: int, pipe: Connection) -> None:
    asyncio.run(_listen(site, sockets, pipe))


def measure(site: Site, sockets: int) -> dict[str, Any]:
    """{"sockets", "frames", "p50", "p99", "all_p99"}: milliseconds."""
    here, there = multiprocessing.Pipe()
    bare = Site(site.port, site.data_dir, site.url, None, site.cookies, site.runs)  # type: ignore[arg-type]
    child = multiprocessing.get_context("spawn").Process(target=_listener, args=(bare, sockets, there))
    child.start()
    assert here.recv() == "ready"
    time.sleep(2)
    committed: dict[int, float] = {}
    with contextlib.closing(site.database()) as db:
        for _ in range(SAMPLES[sockets]):
            id_ = site.insert(db, "pay")
            committed[id_] = time.monotonic()
            site.ring()
            time.sleep(GAP)
    time.sleep(1)
    here.send("stop")
    arrivals = here.recv()
    child.join()
    delays = sorted((at - committed[i]) * 1000 for i, at in arrivals if i in committed)
    last: dict[int, float] = {}
    for i, at in arrivals:
        last[i] = max(last.get(i, 0.0), (at - committed[i]) * 1000)
    assert len(delays) == SAMPLES[sockets] * sockets, "a frame was lost"
    return {
        "sockets": sockets,
        "frames": len(delays),
        "p50": statistics.median(delays),
        "p99": delays[int(len(delays) * 0.99) - 1],
        "all_p99": max(last.values()),
    }


def main(databases: list[str]) -> None:
    people: dict[str, str | None] = {f"p{n}": "payments" for n in range(PEOPLE)}
    print(f"{'database':10} {'sockets':>7} {'frames':>7} {'p50 ms':>8} {'p99 ms':>8} {'slowest ms':>11}")
    with contextlib.ExitStack() as stack:
        for database in databases:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="feed-")))
            url = f"sqlite:///{place}/db.sqlite3"
            if database == "postgres":
                url = stack.enter_context(services.postgres(durable=True)).new_database()
            with running_site(place, url, people) as site:
                for sockets in SAMPLES:
                    row = measure(site, sockets)
                    print(
                        f"{database:10} {row['sockets']:7} {row['frames']:7} {row['p50']:8.1f} {row['p99']:8.1f} "
                        f"{row['all_p99']:11.1f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main(sys.argv[1:] or ["sqlite", "postgres"])
