"""The whole program under load: it begins with one worker, starts more, and goes back to one, losing nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runs.models import Run, WorkCluster
from tests.engine.cluster import begin, check_runs, children, ended, make_connections, make_flow, wait_until
from tests.engine.databases import connected
from tests.stack import Stack

pytestmark = [pytest.mark.stack]

FLOW = """
flow: slow
defaults: {timeout: 20s}
steps:
  - id: a
    http: {connection: world, method: POST, path: "/status?delay_ms=400", json: {}}
"""
ENV = {"DEMO": "0", "MIN_WORKERS": "1", "MAX_WORKERS": "3", "SCALE_UP_SECONDS": "1", "SCALE_DOWN_SECONDS": "1"}


def clusters(stack: Stack) -> list[int]:
    """Main processes of the clusters that live."""
    return [pid for pid in children(stack.process.pid) if b"qcluster" in command(pid)]


def command(pid: int) -> list[bytes]:
    """Nothing, where the process has ended since it was seen."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def test_workers_come_with_the_load_and_go_with_it(tmp_path: Path, world_url: str, django_db_blocker: Any) -> None:
    url = f"sqlite:///{tmp_path / 'data' / 'orchestra.sqlite3'}"
    with Stack(tmp_path / "data", workers=1, env=ENV) as stack, django_db_blocker.unblock(), connected(url):
        make_connections(world_url)
        flow = make_flow(FLOW)
        assert len(clusters(stack)) == 1
        runs = [begin(flow) for _ in range(30)]
        wait_until(lambda: len(clusters(stack)) >= 2)
        wait_until(lambda: WorkCluster.objects.count() >= 2)  # the new one is seen to serve
        wait_until(lambda: ended(runs))
        wait_until(lambda: len(clusters(stack)) == 1)
        check_runs(runs)
        assert Run.objects.filter(status="succeeded").count() == 30
        assert stack.stop() == 0
    said = "\n".join(stack.lines)
    assert "starting work-2 with 1 more" in said and "is not needed any more" in said
