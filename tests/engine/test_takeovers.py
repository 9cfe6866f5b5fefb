"""A killed worker's attempts go to others at once, whatever else just happened: the leases here last a minute."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from flows.models import Flow
from runs import broker, clock, heart, hosts, owners, queue, serve, watch
from runs.broker import WorkBroker
from runs.heart import Heart
from runs.models import RunEvent, Work
from runs.watch import Watcher
from tests.engine.cluster import (
    Cluster,
    begin,
    check_fold,
    children,
    connected_workers,
    holder,
    make_connections,
    make_flow,
    wait_until,
)

LONG = """
flow: long
steps:
  - id: pay
    http: {connection: world, method: POST, path: "/payments?delay_ms=60000", json: {}}
    timeout: 90s
"""
ONE = """
flow: one
steps:
  - id: a
    function: {code: "1"}
"""
HOST = socket.gethostname()


class Someone:
    """A process that may hold a lease, as far as anybody can tell."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.owner = f"{HOST[:36]}:{self.process.pid}:{owners.process_start(self.process.pid)}"

    def die(self, *, buried: bool = True) -> None:
        self.process.kill()
        if buried:
            self.process.wait()
        else:
            wait_until(lambda: stat(self.process.pid) == "Z")


def stat(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def someone() -> Iterator[Someone]:
    made = Someone()
    yield made
    made.process.kill()
    made.process.wait()
    assert made.process.stdin is not None
    made.process.stdin.close()


@pytest.fixture
def cluster_name() -> str:
    return f"t{secrets.token_hex(4)}"


@contextlib.contextmanager
def watching(cluster: str) -> Iterator[Watcher]:
    """A watcher, gone without a goodbye at the end, as when it is killed."""
    made = Watcher(cluster)
    try:
        yield made
    finally:
        for link in made.links.values():
            link.socket.close()
        made.server.close()
        made.bell.close()
        watch.address(cluster).unlink(missing_ok=True)
        if made.listen is not None:
            made.listen.close()


@pytest.fixture
def watcher(database: str, cluster_name: str) -> Iterator[Watcher]:
    with watching(cluster_name) as made:
        yield made


def turns_until(watcher: Watcher, what: Callable[[], Any]) -> None:
    def turned() -> Any:
        watcher.turn()
        return what()

    wait_until(turned)


def looks_until(link: serve.Link, what: Callable[[], Any]) -> None:
    """A worker between two pieces of work, again and again."""

    def looked() -> Any:
        link.look()
        return what()

    wait_until(looked)


def held_by(owner: str) -> Work:
    """A row this one holds."""
    run = begin(Flow.objects.filter(slug="one").first() or make_flow(ONE))
    [claim] = queue.claim_some(owner, ["default"])
    assert claim.run_id == run
    return Work.objects.get(pk=claim.id)


def is_free(row: Work) -> bool:
    row.refresh_from_db()
    return row.owner == ""


# -- the sweep ---------------------------------------------------------------------------------------------------
def test_a_worker_that_died_before_the_watcher_came_is_followed(watcher: Watcher, someone: Someone) -> None:
    row = held_by(someone.owner)
    someone.die()
    turns_until(watcher, lambda: is_free(row))


def test_a_worker_that_never_found_the_new_watcher_is_followed(watcher: Watcher, someone: Someone) -> None:
    row = held_by(someone.owner)
    turns_until(watcher, lambda: someone.owner in watcher.alive)
    assert not is_free(row) and not watcher.links
    someone.die()
    turns_until(watcher, lambda: is_free(row))


def test_a_killed_worker_that_nobody_has_buried_yet_is_dead(watcher: Watcher, someone: Someone) -> None:
    row = held_by(someone.owner)
    turns_until(watcher, lambda: someone.owner in watcher.alive)
    someone.die(buried=False)
    turns_until(watcher, lambda: is_free(row))


def test_a_database_that_does_not_answer_just_then_is_asked_again(
    watcher: Watcher, cluster_name: str, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = held_by(someone.owner)
    link = serve.Link(cluster_name, someone.owner)
    turns_until(watcher, lambda: watcher.links)
    real, refused = queue.end_leases, list[str]()

    def end_leases(owner: str, at: float, run_id: str | None = None) -> int:
        if len(refused) < 2:
            refused.append(owner)
            raise OperationalError("database is locked")
        return real(owner, at, run_id)

    monkeypatch.setattr(queue, "end_leases", end_leases)
    someone.die()
    assert link.socket is not None
    link.socket.close()
    turns_until(watcher, lambda: is_free(row))
    assert refused == [someone.owner] * 2


def test_a_later_process_of_the_same_number_is_not_taken_for_the_worker(watcher: Watcher, someone: Someone) -> None:
    row = held_by(f"{HOST[:36]}:{someone.process.pid}:1")
    turns_until(watcher, lambda: is_free(row))


def test_workers_of_other_hosts_and_of_others_who_go_by_this_ones_name_are_left_alone(
    watcher: Watcher, someone: Someone
) -> None:
    row = held_by("elsewhere:1:1")
    turns_until(watcher, lambda: watcher.swept)
    same_name = held_by(f"{HOST[:36]}:999999999:1")  # since the first look: a container with the same host name
    watcher.next_sweep = 0.0
    watcher.turn()
    assert watcher.next_sweep > 0.0
    assert not is_free(row) and not is_free(same_name)


# -- other hosts -------------------------------------------------------------------------------------------------
several_hosts = pytest.mark.parametrize("database", ["postgres"], indirect=True)  # SQLite has one host


@pytest.fixture
def elsewhere(database: str) -> Iterator[Any]:
    """A session in which another host's watcher holds its lock."""
    connection.ensure_connection()
    session = connection.get_new_connection(connection.get_connection_params())
    session.autocommit = True
    hosts.hold(session, "elsewhere")
    yield session
    session.close()


def swept(watcher: Watcher) -> None:
    watcher.next_sweep = 0.0
    watcher.turn()


def lease_of(row: Work) -> float:
    row.refresh_from_db()
    assert row.wake_at is not None
    return row.wake_at - clock.now()


@several_hosts
def test_leases_of_a_host_that_vanished_are_shortened_and_not_ended(elsewhere: Any, watcher: Watcher) -> None:
    row = held_by("elsewhere:1:1")
    swept(watcher)
    assert lease_of(row) > hosts.SHORT
    elsewhere.close()
    turns_until(watcher, lambda: lease_of(row) <= hosts.SHORT)
    assert not is_free(row)


@several_hosts
def test_a_worker_of_a_host_that_came_back_keeps_what_it_renews(elsewhere: Any, watcher: Watcher) -> None:
    row = held_by("elsewhere:1:1")
    swept(watcher)
    elsewhere.execute("SELECT pg_advisory_unlock_all()")
    turns_until(watcher, lambda: lease_of(row) <= hosts.SHORT)
    hosts.hold(elsewhere, "elsewhere")
    row.refresh_from_db()
    claim = queue.Claim(row.pk, row.kind, row.run_id, row.step, row.item, row.name, row.fence)
    assert queue.renew(claim, "elsewhere:1:1", clock.now() + 60)
    swept(watcher)
    assert lease_of(row) > hosts.SHORT


@several_hosts
def test_leases_of_a_host_that_was_never_seen_there_are_left_alone(elsewhere: Any, watcher: Watcher) -> None:
    """It may run a version that holds no lock."""
    row = held_by("older:1:1")
    swept(watcher)
    swept(watcher)
    assert lease_of(row) > hosts.SHORT


def test_a_live_worker_renews_more_often_than_a_shortened_lease_lasts(database: str) -> None:
    every = heart._renew_every()
    assert every <= settings.LEASE_SECONDS / 3
    if connection.vendor == "postgresql":
        assert every < hosts.SHORT - heart.TICK


def test_who_holds_leases_is_told_once_each_and_without_those_that_were_ended(database: str) -> None:
    for owner in ("b:1:1", "a:1:1", "b:1:1", "c:1:1"):
        held_by(owner)
    queue.end_leases("a:1:1", clock.now())
    assert queue.owners() == ["b:1:1", "c:1:1"]


# -- finding a new watcher -----------------------------------------------------------------------------------------
def test_a_worker_that_never_rests_finds_the_new_watcher(database: str, cluster_name: str) -> None:
    with watching(cluster_name) as first:
        link = serve.Link(cluster_name, "w")
        turns_until(first, lambda: first.links)
    looks_until(link, lambda: link.socket is None)
    with watching(cluster_name) as second:
        looks_until(link, lambda: link.socket is not None)  # between two pieces of work
        turns_until(second, lambda: second.links)
        assert second.joined == 0 and next(iter(second.links.values())).owner == "w"
        assert link.socket is not None
        link.socket.close()


def test_a_worker_in_the_middle_of_a_long_attempt_finds_the_new_watcher(database: str, cluster_name: str) -> None:
    """Else the broker, that misses it for 15 s, would end the cluster with the attempt."""
    with watching(cluster_name) as first:
        link = serve.Link(cluster_name, "w")
        turns_until(first, lambda: first.links)
    heart = Heart("w", look=link.look)
    with heart.beat([], time.time() + 60), watching(cluster_name) as second:
        turns_until(second, lambda: second.links)
        wait_until(lambda: link.socket)  # the heart's thread knows it a moment after the watcher does
    heart.stop()
    assert link.socket is not None
    link.socket.close()


def test_nobody_looks_for_the_watcher_behind_the_attempts_back(database: str) -> None:
    looks: list[float] = []
    heart = Heart("w", look=lambda: looks.append(time.monotonic()))
    with heart.beat([], time.time() + 60):
        wait_until(lambda: looks)
    seen = len(looks)
    heart._turn()
    heart.stop()
    assert len(looks) == seen


# -- a watcher that breaks -------------------------------------------------------------------------------------------
def test_a_watcher_that_breaks_leaves_at_once_and_without_a_goodbye(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Left(BaseException):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    def breaks() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(watcher, "turn", breaks)
    mine = WorkBroker()
    mine._watcher, mine._handed = watcher, watcher.joined + 1
    with pytest.raises(Left):
        mine.dequeue()
    assert not watcher.stopped_mark.exists()


# -- a worker stopped in the middle of a commit ------------------------------------------------------------------------
@contextlib.contextmanager
def stopped_in_a_commit(owner: str) -> Iterator[None]:
    """Another session, of a worker, holds the lock of this one's rows and says nothing more."""
    session = connection.copy()
    serve.short_questions(session)
    session.set_autocommit(False)
    with session.cursor() as cursor:
        cursor.execute("SELECT id FROM runs_work WHERE owner = %s FOR UPDATE", [owner])
    yield
    session.close()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_worker_stopped_in_a_commit_does_not_keep_the_watcher(
    watcher: Watcher, someone: Someone, cluster_name: str
) -> None:
    row = held_by(someone.owner)
    broker.wait_for_no_lock(connection)
    someone.die()
    with stopped_in_a_commit(someone.owner):
        watcher.turn()  # gives up, or this test would never end
        assert not is_free(row)
    turns_until(watcher, lambda: is_free(row))


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_worker_stopped_in_a_commit_gives_up_its_locks_with_its_lease(
    database: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "FROZEN", 0.3)
    settings.LEASE_SECONDS = 0.3
    row = held_by("w:1:1")
    with stopped_in_a_commit("w:1:1"):
        queue.end_leases("w:1:1", clock.now())  # waits for it, and would for ever
    assert is_free(row)


# -- all of it, with real processes ----------------------------------------------------------------------------------
def test_a_busy_worker_killed_after_its_watcher_is_followed_at_once(world_url: str, database: str) -> None:
    make_connections(world_url)
    with Cluster(database, lease=600.0) as cluster:
        run = begin(make_flow(LONG))
        victim = wait_until(lambda: holder(run, "pay"))
        watcher = cluster.pusher
        cluster.kill(watcher)
        wait_until(lambda: watcher not in children(cluster.sentinel) and connected_workers() == cluster.workers)
        assert holder(run, "pay") == victim
        cluster.kill(victim)
        wait_until(lambda: RunEvent.objects.filter(run_id=run, type="step.lost", step="pay").exists())
    check_fold(run)
