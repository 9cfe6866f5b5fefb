"""Variables in real runs: read by steps, conditions, children and outputs, and the same when the history folds."""

from __future__ import annotations

from flows import variables
from runs.actions import start_run
from runs.models import Run
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, check_fold, make_flow
from tests.engine.test_store_queue import drain

CHILD = """
flow: child
vars: {region: {type: string}}
steps:
  - id: nothing
    sleep: 0s
output: {region: "${{ vars.region }}"}
"""
FLOW = """
flow: reading
vars: {region: {type: string}, size: {type: integer, default: 3}}
concurrency: {key: "${{ vars.region }}", limit: 5}
steps:
  - id: keep
    if: ${{ vars.size == 3 }}
    kv: {set: {key: region, value: "${{ vars.region }}"}}
  - id: below
    call: child
output: {region: "${{ vars.region }}", child: "${{ steps.below.output.region }}", told: "${{ has(trigger.vars) }}"}
"""


def test_a_run_reads_what_it_started_with_and_folds_again(database: str) -> None:
    variables.set_variable(
        actor=SYSTEM, name="region", schema={"type": "string"}, values={"live": "eu", "draft": "sandbox"}
    )
    make_flow(CHILD)
    flow = make_flow(FLOW)
    live = start_run(actor=SYSTEM, flow=flow, input={}).run.pk
    tested = start_run(actor=SYSTEM, flow=flow, input={}, test=True).run.pk
    drain(Worker("w"))
    assert Run.objects.get(pk=live).output == {"region": "eu", "child": "eu", "told": False}
    assert Run.objects.get(pk=tested).output == {"region": "sandbox", "child": "sandbox", "told": False}
    for run in Run.objects.values_list("pk", flat=True):
        check_fold(run)
