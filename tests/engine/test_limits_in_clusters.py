"""Limits hold for all workers of all clusters, whatever is killed: seen from the other side, at the demo world."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from resources.limits import ledger
from resources.models import Connection, ConnectionLimit, Permit
from runs.models import RunEvent, Work
from tests.engine.cluster import (
    Cluster,
    begin,
    check_effects,
    check_runs,
    ended,
    get,
    make_connections,
    make_flow,
    turn,
    wait_until,
)

FLOW = """
flow: each
defaults: {timeout: 10s, retry: {max_attempts: 20, initial: 50ms, max: 100ms}}
input: {type: object, properties: {ms: {type: integer, default: 60}}}
steps:
  - id: each
    for_each: {items: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]}
    http: {connection: world, method: POST, path: "/status?delay_ms=${{ input.ms }}", json: {}}
"""
ITEMS = 15


@pytest.fixture
def world(world_url: str, database: str) -> str:
    make_connections(world_url)
    return world_url


def limit(**limits: Any) -> None:
    row = Connection.objects.get(name="world")
    row.settings = {**row.settings, "limits": limits}
    row.save(update_fields=["settings"])


@contextlib.contextmanager
def two_clusters(database: str, workers: int = 2) -> Iterator[tuple[Cluster, Cluster]]:
    """Two on this host, each with a folder and a watcher of its own."""
    one, two = Cluster(database, workers=workers), Cluster(database, workers=workers)
    two.env["CLUSTER"] = "second"
    two.log = Path(settings.DATA_DIR) / "second.log"
    with one, two:
        yield one, two


def book() -> Any:
    return ledger.book_of(ConnectionLimit.objects.get().book)


def test_a_bulkhead_of_two_holds_for_two_clusters_and_a_killed_worker_gives_its_permit_back(
    world: str, database: str
) -> None:
    limit(concurrency=2)
    flow = make_flow(FLOW)
    with two_clusters(database) as clusters:
        runs = [begin(flow, ms=200), begin(flow, ms=200)]
        wait_until(lambda: Work.objects.filter(held_by="connection world: 2 at a time", wake_at=None).exists())
        wait_until(lambda: ended(runs))
        assert get(f"{world}/load")["status"]["most"] == 2
        runs.append(begin(flow, ms=400))
        wait_until(lambda: get(f"{world}/load")["status"]["now"] == 2)
        cluster, victim = wait_until(lambda: busy(clusters))
        cluster.kill(victim)
        wait_until(lambda: not Permit.objects.filter(owner__contains=f":{victim}:").exists())
        wait_until(lambda: ended(runs))
    check_runs(runs)
    check_effects(world, 3 * ITEMS)
    assert not Permit.objects.exists()


def busy(clusters: tuple[Cluster, Cluster]) -> tuple[Cluster, int] | None:
    """A worker that holds a permit."""
    for owner in Permit.objects.exclude(owner="").values_list("owner", flat=True):
        pid = int(owner.rsplit(":", 2)[1])
        for cluster in clusters:
            if pid in cluster.serving():
                return cluster, pid
    return None


def test_a_breaker_opens_for_every_worker_and_closes_when_a_probe_succeeds(world: str, database: str) -> None:
    limit(concurrency=3, breaker={"failures": 3, "window": 60, "open_for": 0.7, "half_open": 1})
    turn(world, kinds={"status": {"error_rate": 1}})
    flow = make_flow(FLOW)
    with Cluster(database):
        run = begin(flow, ms=20)
        wait_until(lambda: ConnectionLimit.objects.exists() and book().opened >= 3)
        turn(world)
        refused = RunEvent.objects.filter(type="step.retrying").count()
        # three opened it, two were under way beside the third, and after that one probe each time
        assert refused <= 3 + 2 + book().opened
        wait_until(lambda: ended([run]))
        assert book().breaker == "closed"
    check_runs([run])
    check_effects(world, ITEMS)
