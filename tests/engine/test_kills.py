"""kill -9 of real processes at bad moments: nothing is lost, nothing with a result runs again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from orchestra.supervisor.child import leash
from runs.engine.doubt import LOST_IN_A_ROW
from runs.models import Run, RunEvent, StepRun
from tests.engine.cluster import (
    PATIENCE,
    Cluster,
    begin,
    check_effects,
    check_runs,
    ended,
    get,
    holder,
    make_connections,
    make_flow,
    turn,
    wait_until,
)
from tests.engine.databases import connected, let_workers_in
from tests.services import postgres
from tests.stack import Stack

FLOW = """
flow: kills
defaults: {timeout: 10s, retry: {max_attempts: 9, initial: 100ms, max: 200ms}}
input:
  type: object
  properties: {ms: {type: integer, default: 0}}
steps:
  - id: first
    function: {code: "1 + 1"}
  - id: pay
    http:
      connection: world
      method: POST
      path: "/payments?delay_ms=${{ input.ms }}"
      json: {n: "${{ steps.first.output }}"}
  - id: mark
    http: {connection: plain, method: POST, path: "/plain/status?delay_ms=${{ input.ms }}", json: {}}
  - id: each
    for_each: {items: [1, 2, 3]}
    http: {connection: world, method: POST, path: "/status?delay_ms=${{ input.ms }}", json: {n: "${{ item }}"}}
  - id: last
    function: {code: "n + 1", input: {n: "${{ steps.first.output }}"}}
output: {n: "${{ steps.last.output }}"}
"""
KEYS = 5  # pay, mark, three items
#: its requests take as long as the world's knobs say
TURNED = FLOW.replace("?delay_ms=${{ input.ms }}", "").replace("timeout: 10s", "timeout: 250s")
NEVER = 240_000  # ms; longer than a test waits for anything


@pytest.fixture
def world(world_url: str, database: str) -> str:
    make_connections(world_url)
    return world_url


def test_a_worker_killed_in_the_middle_of_a_step_is_followed_by_another(world: str, database: str) -> None:
    """The attempt that is killed would never have been answered, the next one is at once."""
    flow = make_flow(TURNED)
    with Cluster(database) as cluster:
        turn(world, kinds={"payments": {"delay_ms": NEVER}, "plain-status": {"delay_ms": NEVER}})
        run = begin(flow)
        for step, left in (("pay", {"plain-status": {"delay_ms": NEVER}}), ("mark", {})):
            victim = wait_until(lambda: holder(run, step))  # noqa: B023  used at once
            wait_until(lambda: any(f":{step}:" in row["key"] for row in get(f"{world}/effects")))  # noqa: B023
            turn(world, kinds=left)
            cluster.kill(victim)
            wait_until(lambda: RunEvent.objects.filter(run_id=run, type="step.lost", step=step).exists())  # noqa: B023
        wait_until(lambda: ended([run]))
        lost = RunEvent.objects.filter(run_id=run, type="step.lost")
        assert sorted(e.step for e in lost) == ["mark", "pay"]
        assert all(str(e.data["attempt"]) == "1" for e in lost)
    check_runs([run])
    check_effects(world, KEYS)
    assert Run.objects.get(pk=run).output == {"n": 3}


def test_killed_idle_workers_do_not_stall_the_others(world: str, database: str) -> None:
    """Neither a lease that ran out nor a look at the queue because time passed would come within the test."""
    flow = make_flow(FLOW)
    runs = []
    with Cluster(database, lease=600.0, POLL_SECONDS="600") as cluster:
        for victim in cluster.serving():
            cluster.kill(victim)
            run = begin(flow)
            runs.append(run)
            wait_until(lambda: Run.objects.get(pk=run).started_at is not None)  # noqa: B023  used at once
        wait_until(lambda: ended(runs))
    check_runs(runs)
    check_effects(world, KEYS * 3)


@pytest.mark.parametrize("victim", ["pusher", "sentinel", "main", "group"])
def test_whatever_of_a_cluster_is_killed_its_runs_end_as_they_would_have(
    world: str, database: str, victim: str
) -> None:
    flow = make_flow(FLOW)
    with Cluster(database) as cluster:
        run = begin(flow, ms=300)
        wait_until(lambda: holder(run, "pay"))
        if victim == "group":
            os.killpg(cluster.main, signal.SIGKILL)
        else:
            cluster.kill(getattr(cluster, victim))
        later = begin(flow)
        if victim != "pusher":
            cluster.process.wait(PATIENCE)
        cluster.tend()
        wait_until(lambda: ended([run, later]))
    check_runs([run, later])
    check_effects(world, 2 * KEYS)


def test_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes(world: str, database: str) -> None:
    flow = make_flow(FLOW)
    with Cluster(database, lease=1.0) as cluster:
        run = begin(flow, ms=1200)
        zombie = wait_until(lambda: holder(run, "mark"))
        cluster.kill(zombie, signal.SIGSTOP)
        lost = RunEvent.objects.filter(run_id=run, type="step.lost", step="mark")
        wait_until(lost.exists)
        cluster.kill(zombie, signal.SIGCONT)  # its answer came while it slept; the second attempt is under way
        more = [begin(flow) for _ in range(6)]
        wait_until(lambda: ended([run, *more]))
    [result] = RunEvent.objects.filter(run_id=run, type="step.succeeded", step="mark")
    assert (result.data["attempt"], lost.get().data["attempt"]) == (2, 1)
    check_runs([run, *more])
    check_effects(world)


def test_a_storm_of_kills(world: str, database: str) -> None:
    flow = make_flow(FLOW)
    dice = random.Random(7)
    with Cluster(database, workers=4, lease=10.0) as cluster:
        runs = [begin(flow, ms=dice.choice([0, 0, 20, 60])) for _ in range(60)]
        for _ in range(8):
            time.sleep(dice.uniform(0.05, 0.4))
            wait_until(lambda: tended(cluster) and not doomed())
            if dice.random() < 0.2:
                os.killpg(cluster.main, signal.SIGKILL)
                cluster.process.wait(PATIENCE)
            elif serving := cluster.serving():
                cluster.kill(dice.choice(serving))
            cluster.tend()
        # a worker killed while it took its task leaves the task queue locked: the cluster then ends by itself
        wait_until(lambda: tended(cluster) and ended(runs))
    check_runs(runs)
    check_effects(world, 60 * KEYS)


def test_a_database_that_goes_away_and_comes_back_loses_nothing(world_url: str, django_db_blocker: Any) -> None:
    with postgres(durable=False) as server, django_db_blocker.unblock():
        url = server.new_database()
        with connected(url):
            call_command("migrate", verbosity=0)
            let_workers_in(url)
            make_connections(world_url)
            flow = make_flow(FLOW)
            with Cluster(url) as cluster:
                runs = [begin(flow, ms=300) for _ in range(4)]
                wait_until(lambda: holder(runs[0], "pay"))
                connection.close()
                with stopped(server.port):
                    time.sleep(1.0)
                wait_until(lambda: comes_back() and ended(runs))
                assert cluster.process.poll() is None
            check_runs(runs)
            check_effects(world_url, 4 * KEYS)
            connection.close()


def doomed() -> bool:
    """Whether some step without a result was lost twice already: the third time would end its run, and rightly so."""
    lost = Counter(RunEvent.objects.filter(type="step.lost").values_list("run_id", "step", "item"))
    often = [where for where, times in lost.items() if times >= LOST_IN_A_ROW - 1]
    waiting = StepRun.objects.exclude(status="succeeded")
    return any(waiting.filter(run_id=run, step=step, item=item).exists() for run, step, item in often)


def tended(cluster: Cluster) -> bool:
    cluster.tend()
    return True


def comes_back() -> bool:
    try:
        connection.ensure_connection()
    except OperationalError:
        return False
    return True


def arguments_of(pid: int) -> list[str]:
    """Nothing, where the process has ended since it was seen."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


@contextlib.contextmanager
def stopped(port: int) -> Iterator[None]:
    """The PostgreSQL on this port crashes; behind the body it is there again, with what it had on disk."""
    [postmaster] = [int(p.name) for p in Path("/proc").glob("[0-9]*") if f"port={port}" in arguments_of(int(p.name))]
    argv = arguments_of(postmaster)
    user = os.stat(f"/proc/{postmaster}").st_uid if os.geteuid() == 0 else None  # others start it as themselves
    os.kill(postmaster, signal.SIGQUIT)
    wait_until(lambda: Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    yield
    again = subprocess.Popen(
        argv,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=leash(os.getpid(), signal.SIGKILL),
        cwd="/",
    )
    _servers.append(again)


_servers: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def servers_end() -> Iterator[None]:
    yield
    while _servers:
        server = _servers.pop()
        server.send_signal(signal.SIGINT)
        server.wait(PATIENCE)


@pytest.mark.stack
def test_the_supervisor_and_the_web_process_killed_at_once_lose_nothing(
    tmp_path: Path, world_url: str, django_db_blocker: Any
) -> None:
    url = f"sqlite:///{tmp_path / 'data' / 'orchestra.sqlite3'}"
    with Stack(tmp_path / "data", env={"DEMO": "0"}) as stack, django_db_blocker.unblock(), connected(url):
        make_connections(world_url)
        flow = make_flow(FLOW)
        run = begin(flow, ms=300)
        wait_until(lambda: holder(run, "pay"))
        web = stack.children()["web"]
        os.kill(stack.process.pid, signal.SIGKILL)
        os.kill(web, signal.SIGKILL)
        stack.process.wait()
        stack.start()
        wait_until(lambda: ended([run]))
        check_runs([run])
        check_effects(world_url, KEYS)
