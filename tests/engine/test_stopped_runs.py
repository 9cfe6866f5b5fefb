"""With a cluster of real workers: a run stopped while it is paused, or while it waits, never takes its next step."""

from __future__ import annotations

import pytest

from runs import controls
from runs.models import Run, RunEvent
from tests.engine.cluster import SYSTEM, Cluster, begin, check_fold, ended, get, make_connections, make_flow, wait_until

FLOW = """
flow: stopped
defaults: {timeout: 10s}
input: {type: object, properties: {ms: {type: integer, default: 0}, wait: {type: boolean, default: false}}}
steps:
  - id: first
    http: {connection: world, method: POST, path: "/status?delay_ms=${{ input.ms }}", json: {}}
  - id: hold
    if: ${{ input.wait }}
    wait: {callback: {timeout: 1h}}
  - id: next
    http: {connection: world, method: POST, path: "/status", json: {}}
"""


@pytest.mark.parametrize("stop", ["terminate_run", "cancel_run"])
def test_a_run_stopped_while_paused_or_waiting_never_takes_its_next_step(
    stop: str, world_url: str, database: str
) -> None:
    make_connections(world_url)
    flow = make_flow(FLOW)
    with Cluster(database):
        paused, waiting = begin(flow, ms=600), begin(flow, wait=True)
        wait_until(lambda: RunEvent.objects.filter(run=paused, type="step.started", step="first").exists())
        controls.pause_run(actor=SYSTEM, run_id=paused, reason="a look")
        wait_until(lambda: Run.objects.get(pk=waiting).status == "waiting")
        for run in (paused, waiting):
            getattr(controls, stop)(actor=SYSTEM, run_id=run, reason="enough")
        wait_until(lambda: ended([paused, waiting]))
        wait_until(lambda: any(paused in row["key"] for row in get(f"{world_url}/effects")))  # its attempt came back
        after = [begin(flow) for _ in range(5)]  # the workers are at work: what was left to do would have been done
        wait_until(lambda: ended(after))
    for run in (paused, waiting):
        assert Run.objects.get(pk=run).status == "cancelled"
        assert not RunEvent.objects.filter(run=run, type="step.started", step="next").exists()
        assert not [row for row in get(f"{world_url}/effects") if row["key"].startswith(f"{run}:next")]
        check_fold(run)
