"""A stop in good order: what is short ends, what is long is handed back and repeated elsewhere with the same key."""

from __future__ import annotations

import signal

import pytest

from flows.definition.plan import Retry
from runs.drain import phase
from runs.engine import inputs as given
from runs.models import Run, RunEvent, Work
from tests.engine.cluster import (
    Cluster,
    begin,
    check_effects,
    check_fold,
    check_runs,
    children,
    holder,
    make_connections,
    make_flow,
    wait_until,
)
from tests.engine.game import Game, plan, step
from tests.stack import group_members

FLOW = """
flow: slow
defaults: {timeout: 270s, retry: {max_attempts: 1}}
input:
  type: object
  properties: {ms: {type: integer, default: 0}}
steps:
  - id: pay
    http: {connection: world, method: POST, path: "/payments?delay_ms=${{ input.ms }}", json: {}}
"""
ONCE = FLOW.replace("flow: slow", "flow: once").replace("connection: world", "connection: plain")


@pytest.mark.parametrize(
    ("stopped_for", "seconds", "now"),
    [
        (None, 30, "working"),
        (0.0, 30, "finishing"),
        (23.9, 30, "finishing"),
        (24.0, 30, "handing_back"),
        (28.0, 30, "over"),
        (1.9, 4, "finishing"),
        (2.0, 4, "handing_back"),
        (3.0, 4, "over"),
    ],
)
def test_a_stop_has_phases(stopped_for: float | None, seconds: float, now: str) -> None:
    assert phase(stopped_for, seconds) == now


def test_what_was_handed_back_counts_neither_as_a_try_nor_as_lost() -> None:
    game = Game(plan(step("a", retry=Retry(max_attempts=1))))
    for n in range(1, 6):
        game.give(given.AttemptStarted("a"))
        back = game.give(given.AttemptLost("a", -1, n, handed_back=True))
        assert [e.type for e in back.events if e.cause] == ["step.handed_back"]
        assert (game["a"].status, game["a"].tries, game["a"].lost, game["a"].attempt) == ("ready", 0, 0, n)


def test_what_must_not_be_repeated_is_never_taken_back_silently() -> None:
    game = Game(plan(step("a", irreversible=True)))
    game.give(given.AttemptStarted("a"))
    game.give(given.AttemptLost("a", -1, 1, repeatable=False, handed_back=True))
    assert game["a"].status == "unknown"


ENDLESS = 240_000  # ms; no step of a stopping cluster is waited for that long


def stop(cluster: Cluster, seconds: float = 100.0) -> int:
    """SIGTERM to the main process: its exit code."""
    cluster.kill(cluster.main, signal.SIGTERM)
    return cluster.process.wait(seconds)


def test_a_stopping_cluster_ends_what_is_short_and_hands_back_what_is_long(world_url: str, database: str) -> None:
    make_connections(world_url)
    flow = make_flow(FLOW)
    with Cluster(database, STOP_SECONDS="10") as old:
        short, long = begin(flow, ms=3000), begin(flow, ms=ENDLESS)
        wait_until(lambda: holder(short, "pay") and holder(long, "pay"))
        assert stop(old) == 0 and group_members(old.main) == []
    [back] = RunEvent.objects.filter(type="step.handed_back")
    assert (back.run_id, back.data["attempt"]) == (long, 1)
    assert not RunEvent.objects.filter(type="step.lost").exists()
    assert RunEvent.objects.get(run_id=short, type="step.succeeded").data["attempt"] == 1
    with Cluster(database):
        wait_until(lambda: holder(long, "pay"))
        events = RunEvent.objects.filter(run_id=long, type="step.started").order_by("seq")
        assert [e.data["attempt"] for e in events] == [1, 2] and {e.data["pass"] for e in events} == {1}
    check_runs([short])
    check_fold(long)


def test_what_must_not_be_repeated_has_until_the_end_and_then_counts_as_lost(world_url: str, database: str) -> None:
    make_connections(world_url)
    flow = make_flow(ONCE)
    with Cluster(database, STOP_SECONDS="4") as old:
        short, long = begin(flow, ms=1000), begin(flow, ms=ENDLESS)
        begun = RunEvent.objects.filter(run_id=short, type="step.started", step="pay")
        wait_until(lambda: holder(long, "pay") and begun.exists())
        assert stop(old) == 0 and group_members(old.main) == []
    assert Run.objects.get(pk=short).status == "succeeded"
    assert not RunEvent.objects.filter(type="step.handed_back").exists()
    [row] = Work.objects.filter(run_id=long)
    assert row.owner == ""  # the next worker records the attempt as lost
    check_effects(world_url)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_cluster_whose_monitor_was_killed_stops_like_any_other(database: str) -> None:
    """The killed one held the lock of the queue that both read: the next one never hears that it should stop."""
    with Cluster(database) as cluster:
        before = cluster.monitor
        cluster.kill(before)
        wait_until(lambda: cluster.serving() and before not in children(cluster.sentinel))
        assert stop(cluster) == 0
        wait_until(lambda: group_members(cluster.main) == [])
