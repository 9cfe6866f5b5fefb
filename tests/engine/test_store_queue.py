"""Claims, leases and fences on the real tables of both databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import pytest
from django.db import connection

from runs import clock, queue, queue_rows, store
from runs.crew import Crew
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.meaning import just, meaning_of
from runs.models import Run, RunEvent, StepRun, Work
from runs.queue_rows import Fenced, Hold
from runs.slice import Happened, Slice
from runs.worker import Worker
from tests.engine.cluster import begin, check_fold, make_flow

ONE = """
flow: one
defaults: {timeout: 5s, retry: {max_attempts: 9}}
steps:
  - id: a
    function: {code: "1"}
output: {a: "${{ steps.a.output }}"}
"""


P = ParamSpec("P")
R = TypeVar("R")


def in_thread(work: Callable[P, R]) -> Callable[P, R]:
    """Run in a thread whose connection is closed behind it."""

    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    return wrapped


def expire(run: str) -> None:
    Work.objects.filter(run_id=run).update(wake_at=clock.now() - 1)


def drain(*workers: Worker) -> None:
    """Let these workers in turn do all that is due."""
    for worker in workers:
        while worker.work_once():
            pass


def test_the_row_of_the_lowest_rank_is_claimed_first(database: str) -> None:
    flow = make_flow(ONE)
    runs = [begin(flow) for _ in range(4)]
    for age, run in enumerate(reversed(runs)):
        Work.objects.filter(run_id=run).update(rank=clock.now() - 100 + age)
    claims = [queue.claim("w") for _ in runs]
    assert [c.run_id for c in claims if c] == list(reversed(runs))
    assert queue.claim("w") is None


def test_a_row_that_is_not_due_is_not_claimed(database: str) -> None:
    run = begin(make_flow(ONE))
    Work.objects.filter(run_id=run).update(rank=None, wake_at=clock.now() + 5)
    assert queue.claim("w") is None


def test_eight_workers_never_claim_the_same_row(database: str) -> None:
    flow = make_flow(ONE)
    runs = {begin(flow) for _ in range(40)}
    barrier = threading.Barrier(8)

    @in_thread
    def claim_all(owner: str) -> list[str]:
        barrier.wait()
        return [c.run_id for c in iter(lambda: queue.claim(owner), None)]

    with ThreadPoolExecutor(8) as pool:
        claimed = [run for found in pool.map(claim_all, [f"w{i}" for i in range(8)]) for run in found]
    assert len(claimed) == len(set(claimed)) and set(claimed) == runs


def test_eight_workers_carry_all_runs_to_their_end_once(database: str) -> None:
    flow = make_flow(ONE)
    runs = [begin(flow) for _ in range(40)]

    @in_thread
    def work(owner: str) -> None:
        worker = Worker(owner)
        while worker.work_once():
            pass
        worker.heart.stop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [f"w{i}" for i in range(8)]))
    assert set(Run.objects.values_list("status", flat=True)) == {"succeeded"}
    assert RunEvent.objects.filter(type="step.started").count() == len(runs)
    assert not Work.objects.exists()


A = ("a", -1)


@pytest.fixture
def held(database: str) -> Slice:
    """A worker that has started the step and not yet said how it ended."""
    begin(make_flow(ONE))
    return started("first")


def started(owner: str) -> Slice:
    """A slice that has claimed the start of a run and goes as far as its first attempts."""
    claim = queue.claim(owner)
    assert claim is not None
    loaded = store.load(claim.run_id)
    assert loaded is not None
    slice_ = Slice(Worker(owner), loaded, claim)
    assert slice_.commit([Happened(lambda _: given.Started(), claim)])
    return slice_


def carry(worker: Worker, loaded: store.Loaded, claim: queue.Claim) -> None:
    """Go on with a run from a row that was claimed."""
    Crew(worker, [Slice(worker, loaded, claim)]).go()


def tell(slice_: Slice, output: object) -> object:
    """The attempt comes back with this output. None when its worker has to drop it."""
    ended = given.AttemptEnded("a", -1, slice_.loaded.state.step("a").attempt, "done", output=output)
    return slice_.commit([Happened(lambda _: ended, slice_.rows[A])])


def test_an_expired_lease_is_recorded_as_lost_and_taken_over(held: Slice) -> None:
    run = held.loaded.state.run_id
    expire(run)
    drain(Worker("second"))
    events = list(RunEvent.objects.filter(run_id=run).order_by("seq").values_list("type", flat=True))
    assert events.count("step.lost") == 1 and events.count("step.started") == 2
    assert Run.objects.get(pk=run).output == {"a": 1}
    check_fold(run)


def test_a_zombie_writes_nothing_after_the_takeover(held: Slice) -> None:
    run = held.loaded.state.run_id
    expire(run)
    assert queue.claim("second") is not None
    before = list(RunEvent.objects.values_list("seq", "type"))
    assert tell(held, "zombie") is None
    assert list(RunEvent.objects.values_list("seq", "type")) == before
    assert StepRun.objects.get(run_id=run).status == "running"


def test_a_save_with_an_old_fence_is_refused_whole(held: Slice) -> None:
    loaded = held.loaded
    Work.objects.update(fence=held.rows[A].fence + 1)
    ended = given.AttemptEnded("a", -1, 1, "done", output=1)
    decision = decide(loaded.plan, loaded.state, ended, clock.now())
    with pytest.raises(Fenced):
        store.save(loaded, store.Save([decision], clock.now(), Hold("first", [held.rows[A]], [])))
    assert Run.objects.get().version == loaded.state.version


def test_neither_renewing_nor_letting_go_touches_a_row_of_somebody_else(held: Slice) -> None:
    old = held.rows[A]
    expire(old.run_id)
    new = queue.claim("second")
    assert new is not None
    row = Work.objects.values().get()
    assert not queue.renew(old, "first", clock.now() + 99)
    queue.give_back(old, "first", clock.now())
    queue.hold(old, "first", clock.now())
    queue.drop(old, "first")
    assert Work.objects.values().get() == row


def test_a_run_that_moved_is_decided_again(held: Slice) -> None:
    from runs import history

    history.append(held.loaded.state.run_id, "callback.received")  # somebody else's entry, meanwhile
    assert tell(held, 7) == []
    run = Run.objects.get()
    assert (run.status, run.output) == ("succeeded", {"a": 7})
    assert list(RunEvent.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, run.seq + 1))


def test_a_stale_save_writes_nothing(held: Slice) -> None:
    loaded = held.loaded
    decision = decide(loaded.plan, loaded.state, given.AttemptEnded("a", -1, 1, "done"), clock.now())
    Run.objects.update(version=loaded.state.version + 1)
    before = RunEvent.objects.count()
    with pytest.raises(store.Stale):
        store.save(loaded, store.Save([decision], clock.now()))
    assert RunEvent.objects.count() == before and StepRun.objects.get().status == "running"


def test_a_dead_workers_rows_are_due_at_once_and_known_as_lost(held: Slice) -> None:
    assert queue.claim("second") is None
    assert queue.end_leases("first", clock.now()) == 1
    row = Work.objects.get()
    assert row.owner == ""
    drain(Worker("second"))
    assert Run.objects.get().status == "succeeded" and RunEvent.objects.filter(type="step.lost").exists()


def test_what_a_dead_worker_held_goes_before_a_backlog_of_higher_priority(held: Slice) -> None:
    flow = make_flow(ONE.replace("flow: one", "flow: urgent"))
    urgent = [begin(flow) for _ in range(3)]
    Work.objects.filter(run_id__in=urgent).update(rank=clock.now() - 3600, priority=10)
    assert queue.end_leases("first", clock.now()) == 1
    first = queue.claim("second")
    assert first is not None and first.run_id == held.loaded.state.run_id


def test_after_the_clock_was_set_a_lease_that_looks_over_is_left_alone(
    held: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queue.claim("second") is None  # the clock is known from now on
    Work.objects.update(wake_at=clock.now() - 1)
    guard = clock.JumpGuard(seen=(clock.now() - 3600, time.monotonic()))
    monkeypatch.setattr(queue, "_guard", guard)
    assert queue.claim("second") is None
    assert queue.end_leases("first", clock.now() - 1) == 1  # of one that surely died
    assert queue.claim("second") is not None


def test_two_workers_that_open_the_same_item_at_once_both_keep_their_results(database: str) -> None:
    """Each ends an item and would go on with the third: the loser decides again, it does not fall over."""
    source = ONE.replace("flow: one", "flow: fan").replace("  - id: a", "  - id: a\n    timeout: 6s")
    begin(make_flow(source.replace("function:", "for_each: {items: [1, 2, 3], max_parallel: 2}\n    function:")))
    one = started("first")
    claim = queue.claim("second")
    assert claim is not None and claim.item == 1
    loaded = store.load(claim.run_id)
    assert loaded is not None
    two = Slice(Worker("second"), loaded, claim)
    assert two.commit([Happened(meaning_of(claim), claim)]) == [("a", 1)]
    fresh = store.load(claim.run_id)
    assert fresh is not None
    one.loaded = fresh  # both know the run as it is now
    for slice_, item in ((two, 1), (one, 0)):
        ended = given.AttemptEnded("a", item, 1, "done", output=item)
        slice_.commit([Happened(just(ended), slice_.rows["a", item])])
    outputs = dict(StepRun.objects.filter(item__gte=0).values_list("item", "output"))
    assert (outputs[0], outputs[1]) == (0, 1)
    assert not RunEvent.objects.filter(type="step.lost").exists()


def test_another_worker_that_takes_the_same_step_inline_is_told(database: str) -> None:
    """Two workers of one fan-out reach for the same item: one gets it, the other drops its decision whole."""
    source = ONE.replace("flow: one", "flow: fan")
    begin(make_flow(source.replace("function:", "for_each: {items: [1, 2]}\n    function:")))
    one = started("first")
    other = queue.claim("second")  # the second item
    assert other is not None and other.item == 1
    loaded, row = one.loaded, one.rows["a", 0]
    done = decide(loaded.plan, loaded.state, given.AttemptEnded("a", 0, 1, "done", output=1), clock.now())
    began = decide(loaded.plan, done.state, given.AttemptStarted("a", 1, "first"), clock.now())
    take = queue_rows.Take(("a", 1), clock.now() + 9, fresh=False)
    with pytest.raises(queue_rows.Taken):
        store.save(loaded, store.Save([done, began], clock.now(), Hold("first", [row], [take])))
    assert StepRun.objects.get(item=0).status == "running"


def test_what_is_ready_is_due_even_when_the_clock_was_set_back_since(database: str) -> None:
    run = begin(make_flow(ONE))
    assert Work.objects.filter(run_id=run, rank__isnull=False).update(wake_at=clock.now() + 3600) == 1
    assert queue.look(1) == [0.0]
