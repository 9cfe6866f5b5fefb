"""/ws/live through a real daphne, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.feed.site import Site, subscribe

LONG = 10.0  # seconds; only a broken feed takes it


async def notices(live: Any, wanted: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(LONG):
        return [json.loads(await live.recv()) for _ in range(wanted)]


async def until(live: Any, last_id: int) -> list[dict[str, Any]]:
    """All notices up to the one of event `last_id`."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(LONG):
        while not found or found[-1].get("id") != last_id:
            found.append(json.loads(await live.recv()))
    return found


def test_a_commit_of_another_process_reaches_the_browser(site: Site) -> None:
    async def story() -> None:
        async with site.open("paula") as live:
            run = f"run:{site.runs['pay']}"
            assert (await subscribe(live, run, "runs", "flow:pay"))["refused"] == []
            written = site.write("pay", "step.succeeded", "deploy")
            told = await notices(live, 3)
            assert {n["topic"] for n in told} == {run, "runs", "flow:pay"}
            assert {(n["id"], n["type"], n["step"], n["flow"], n["run"]) for n in told} == {
                (written, "step.succeeded", "deploy", "pay", site.runs["pay"])
            }

    asyncio.run(story())


def test_a_commit_is_found_when_no_bell_rings(site: Site) -> None:
    async def story() -> None:
        async with site.open("paula") as live:
            await subscribe(live, "runs")
            written = site.write("pay", ring=False)
            assert (await notices(live, 1))[0]["id"] == written

    asyncio.run(story())


def test_nobody_hears_of_another_folders_runs(site: Site) -> None:
    async def story() -> None:
        run = f"run:{site.runs['pay']}"
        async with site.open("otto") as otto, site.open("nobody") as nobody:
            for live in (otto, nobody):
                answer = await subscribe(live, run, "flow:pay", "run:no-such-run", "runs", "inbox", "else:x")
                assert answer["subscribed"] == ["runs", "inbox"]
                assert answer["refused"] == [run, "flow:pay", "run:no-such-run", "else:x"]
            site.write("pay", "run.succeeded")
            site.write("pay", "approval.requested")
            theirs = site.write("ops", "run.failed")
            assert [n["flow"] for n in await until(otto, theirs)] == ["ops"]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await nobody.recv()

    asyncio.run(story())


def test_a_grant_given_or_taken_counts_from_the_next_event_on(site: Site) -> None:
    async def story() -> None:
        with contextlib.closing(site.database()) as db:
            (user,) = db.execute("SELECT id FROM auth_user WHERE username = 'nobody'").fetchone()
            grant = site.sql("INSERT INTO resources_grant (user_id, folder, role) VALUES (%s, 'payments', 'viewer')")
            async with site.open("nobody") as live, site.open("paula") as other:
                await subscribe(live, "runs")
                await subscribe(other, "runs")
                await until(other, site.write("pay", "run.started"))  # told, before the grant is there
                db.execute(grant, [user])
                given = site.write("pay", "run.paused")
                assert [n["id"] for n in await until(live, given)] == [given]
                db.execute(site.sql("DELETE FROM resources_grant WHERE user_id = %s"), [user])
                site.write("pay", "run.resumed")
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await live.recv()

    asyncio.run(story())


def test_approvals_ring_the_inbox_and_log_lines_only_their_run(site: Site) -> None:
    async def story() -> None:
        async with site.open("paula") as live:
            await subscribe(live, "runs", "inbox")
            site.write("pay", "step.log")
            site.write("pay", "approval.requested")
            last = site.write("pay", "run.succeeded")
            assert [(n["topic"], n["type"]) for n in await until(live, last)] == [
                ("inbox", "approval.requested"), ("runs", "run.succeeded"),
            ]  # fmt: skip

    asyncio.run(story())


def test_a_new_list_of_topics_replaces_the_old_one(sqlite_site: Site) -> None:
    async def story() -> None:
        async with sqlite_site.open("paula") as live:
            await subscribe(live, "runs", "flow:pay")
            await live.send(json.dumps({"subscribe": ["inbox"]}))
            assert json.loads(await live.recv())["subscribed"] == ["inbox"]
            sqlite_site.write("pay", "run.started")
            asked = sqlite_site.write("pay", "approval.requested")
            assert [n["topic"] for n in await until(live, asked)] == ["inbox"]

    asyncio.run(story())


def test_after_a_cut_the_browser_hears_what_it_missed(site: Site) -> None:
    async def story() -> None:
        run = f"run:{site.runs['pay']}"
        async with site.open("paula") as live:
            await subscribe(live, run)
            seen = site.write("pay", "step.started", "build")
            await until(live, seen)
        missed = [site.write("pay", "step.succeeded", f"s{n}") for n in range(3)]
        site.write("ops", "step.succeeded")
        async with site.open("paula") as live:
            answer = await subscribe(live, run, after=seen)
            assert answer["id"] >= missed[-1]
            assert [n["id"] for n in await until(live, missed[-1])] == missed
            now = site.write("pay", "run.succeeded")
            assert (await notices(live, 1))[0]["id"] == now

    asyncio.run(story())


def test_a_burst_on_a_list_becomes_one_notice_a_run(site: Site) -> None:
    async def story() -> None:
        async with site.open("paula") as live:
            await subscribe(live, "runs")
            with contextlib.closing(site.database()) as db:
                db.execute("BEGIN")
                ids = [site.insert(db, "pay") for _ in range(200)]
                db.execute("COMMIT")
            site.ring()
            assert len(await until(live, ids[-1])) < 5

    asyncio.run(story())


def test_strangers_and_other_sites_are_turned_away(site: Site) -> None:
    async def story() -> None:
        async with site.open(None) as live:
            with pytest.raises(ConnectionClosed) as caught:
                await live.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4401
        with pytest.raises(InvalidStatus):
            async with site.open("paula", origin="https://evil.example"):
                pass

    asyncio.run(story())


@pytest.mark.parametrize("message", ["{", "[]", "[" * 10_000, "x" * 20_000])
def test_nonsense_closes_the_socket_and_nothing_else(sqlite_site: Site, message: str) -> None:
    async def story() -> None:
        async with sqlite_site.open("paula") as other, sqlite_site.open("paula") as live:
            await subscribe(other, "runs")
            await live.recv()
            await live.send(message)
            with pytest.raises(ConnectionClosed) as caught:
                await live.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4400
            written = sqlite_site.write("pay")
            assert (await notices(other, 1))[0]["id"] == written

    asyncio.run(story())


def test_four_writers_whose_ids_commit_out_of_order_lose_nothing(postgres_site: Site) -> None:
    """Ids are handed out before a commit: a cursor alone loses every event that commits after a larger one."""
    site = postgres_site
    ids: list[int] = []

    async def story() -> None:
        async with site.open("paula") as live:
            await subscribe(live, f"run:{site.runs['pay']}")
            threads = [threading.Thread(target=_write_slowly, args=(site, n, ids)) for n in range(4)]
            for thread in threads:
                thread.start()
            seen: set[int] = set()
            deadline = time.monotonic() + 60
            while (len(seen) < 160 or any(t.is_alive() for t in threads)) and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        seen.add(json.loads(await live.recv())["id"])
            assert len(ids) == 160
            assert set(ids) <= seen

    asyncio.run(story())


def _write_slowly(site: Site, writer: int, ids: list[int]) -> None:
    dice = random.Random(writer)
    with contextlib.closing(site.database()) as db:
        for n in range(40):
            with db.transaction():
                row = db.execute(
                    "INSERT INTO runs_runevent (run_id, seq, type, schema, cause, step, item, at, actor, data) "
                    "VALUES (%s, %s, 'step.log', 1, false, %s, -1, 0, '', '{}') RETURNING id",
                    [site.runs["pay"], 1_000_000 + writer * 1_000 + n, f"w{writer}-{n}"],
                ).fetchone()
                time.sleep(dice.uniform(0, 0.04))  # the id is taken, the commit is not there yet
            ids.append(row[0])


def test_a_database_that_goes_away_only_delays(postgres_site: Site) -> None:
    async def story() -> None:
        async with postgres_site.open("paula") as live:
            await subscribe(live, "runs")
            with contextlib.closing(postgres_site.database()) as db:
                db.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            written = postgres_site.write("pay", "run.succeeded")
            assert (await notices(live, 1))[0]["id"] == written

    asyncio.run(story())
