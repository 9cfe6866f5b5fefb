"""Who is next on the real tables: queues, priorities, and flows side by side."""

from __future__ import annotations

import pytest

from flows.models import Flow
from runs import actions, queue, ranks
from runs.actions import deliver, start_run
from runs.models import Run, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, Cluster, begin, check_runs, ended, make_flow, wait_until
from tests.engine.test_store_queue import drain
from tests.engine.test_store_waits import token_of

ONE = """
flow: SLUG
MORE
defaults: {timeout: 5s}
steps:
  - id: a
    function: {code: "1"}
"""


def flow_of(slug: str, more: str = "") -> Flow:
    return make_flow(ONE.replace("SLUG", slug).replace("MORE\n", more and more + "\n"))


def start(flow: Flow, priority: int | None = None) -> str:
    return str(start_run(actor=SYSTEM, flow=flow, input={}, priority=priority).run.pk)


def order() -> list[str]:
    """Runs in the order in which workers take them."""
    found = []
    while (claim := queue.claim("w")) is not None:
        found.append(claim.run_id)
    return found


# -- queues ------------------------------------------------------------------------------------------------------------
def worker(*queues: str) -> Worker:
    made = Worker(f"w-{'-'.join(queues)}")
    made.queues = list(queues)
    return made


def test_a_queue_nobody_serves_and_a_full_one_delay_no_other(database: str) -> None:
    lonely, full, free = flow_of("lonely", "queue: lonely"), flow_of("full", "queue: full"), flow_of("free")
    held = [start(lonely, 10) for _ in range(20)] + [start(full, 10) for _ in range(50)]
    run = start(free)
    drain(worker("default"))
    assert ended([run]) and not Run.objects.filter(pk__in=held).exclude(status="queued").exists()
    both = worker("full", "default")
    drain(both)
    assert Run.objects.filter(flow=full, status="succeeded").count() == 50
    assert Run.objects.filter(flow=lonely, status="queued").count() == 20
    drain(worker("lonely"))
    check_runs(held)


STEPS = """
flow: two
defaults: {timeout: 5s}
steps:
  - id: here
    function: {code: "1"}
  - id: there
    queue: gpu
    function: {code: "n + 1", input: {n: "${{ steps.here.output }}"}}
  - id: back
    function: {code: "n + 1", input: {n: "${{ steps.there.output }}"}}
output: "${{ steps.back.output }}"
"""


def test_a_step_goes_to_the_workers_of_its_queue_and_the_run_comes_back(database: str) -> None:
    run = begin(make_flow(STEPS))
    drain(worker("default"))
    assert [(w.step, w.queue) for w in Work.objects.filter(run_id=run)] == [("there", "gpu")]
    assert not StepRun.objects.filter(run_id=run, step="there", attempt__gt=0).exists()
    drain(worker("gpu"))
    assert [(w.step, w.queue) for w in Work.objects.filter(run_id=run)] == [("back", "default")]
    drain(worker("default"))
    check_runs([run])
    assert Run.objects.get(pk=run).output == 3


def test_the_workers_of_a_cluster_take_what_QUEUES_says(database: str) -> None:
    gpu, other = flow_of("gpu", "queue: gpu"), flow_of("other")
    with Cluster(database, workers=2, QUEUES="gpu"):
        runs = [start(gpu) for _ in range(5)]
        left = start(other)
        wait_until(lambda: ended(runs))
        assert Run.objects.get(pk=left).status == "queued"
    check_runs(runs)


# -- priorities --------------------------------------------------------------------------------------------------------
def test_a_higher_priority_goes_first_whether_it_is_the_flows_or_the_starts(database: str) -> None:
    plain, urgent, lazy = flow_of("plain"), flow_of("urgent", "priority: 10"), flow_of("lazy", "priority: -10")
    low, middle, high = start(lazy), start(plain), start(urgent)
    top, bottom = start(lazy, 10), start(urgent, -10)
    found = order()
    assert set(found[:2]) == {high, top} and found[2] == middle and set(found[3:]) == {low, bottom}


STEP = """
flow: step
defaults: {timeout: 5s}
steps:
  - {id: low, needs: [], priority: -10, function: {code: "1"}}
  - {id: own, needs: [], wait: {callback: {timeout: 1h}}}
  - {id: high, needs: [], priority: 10, function: {code: "1"}}
"""


def test_a_steps_priority_goes_before_that_of_its_run(database: str) -> None:
    run = str(start_run(actor=SYSTEM, flow=make_flow(STEP), input={}, priority=3).run.pk)
    w = Worker("w")
    w.only_short = True
    [claim] = queue.claim_some("w", limit=1)
    assert claim.run_id == run
    from runs.slice import Slice
    from runs.store import load

    loaded = load(run)
    assert loaded is not None
    w.stopping = True  # opens the three, starts none
    slice_ = Slice(w, loaded, claim)
    slice_.yields = True
    from runs.crew import Crew

    Crew(w, [slice_]).go()
    rows = {r.step: r for r in Work.objects.filter(run_id=run, rank__isnull=False)}
    assert {s: r.priority for s, r in rows.items()} == {"low": -10, "own": 3, "high": 10}
    assert sorted(rows, key=lambda s: rows[s].rank or 0) == ["high", "own", "low"]


def test_what_waited_for_an_answer_is_ranked_like_what_becomes_ready(database: str) -> None:
    flow = make_flow("flow: w\nsteps:\n  - id: w\n    wait: {callback: {timeout: 1h}}\n")
    run = str(start_run(actor=SYSTEM, flow=flow, input={}, priority=10).run.pk)
    drain(Worker("w"))
    assert deliver(token=token_of(run, "w"), payload=1, actor=SYSTEM).outcome == "accepted"
    row = Work.objects.get(run_id=run, kind="step")
    assert row.rank is not None and row.wake_at is not None and row.rank < row.wake_at - 4
    actions.pause_run(actor=SYSTEM, run_id=run)
    assert Work.objects.get(run_id=run, kind="step").rank is None


# -- flows side by side ------------------------------------------------------------------------------------------------
def test_a_flow_that_dumps_many_runs_does_not_starve_anothers_single_run(database: str) -> None:
    many, single = flow_of("many"), flow_of("single")
    for _ in range(300):
        start(many)
    run = start(single)
    assert order().index(run) < 30
    ranks.forget()


@pytest.mark.stack
def test_at_saturation_the_single_run_and_the_lowest_priority_begin_soon(database: str) -> None:
    many, single, lazy = flow_of("many"), flow_of("single"), flow_of("lazy", "priority: -10")
    dumped = [start(many) for _ in range(400)]
    low = start(lazy)
    with Cluster(database, workers=2):
        run = start(single)
        wait_until(lambda: ended([run]))
        left = Run.objects.filter(flow=many, status="queued").count()
        wait_until(lambda: Run.objects.get(pk=low).started_at)
        wait_until(lambda: ended(dumped))
    assert left > 0
    check_runs([run, low])
