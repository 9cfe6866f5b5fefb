"""Several runs in one worker's hands: they share commits, and each stands alone where it must. On both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection

from runs import clock, crew, history, queue, store, together
from runs import hot as hot_statements
from runs.crew import SLICE, Crew
from runs.engine import inputs as given
from runs.meaning import just
from runs.models import Run, RunEvent, Work
from runs.pace import Pace
from runs.slice import Happened, Slice
from runs.store import Stale
from runs.worker import MAX_RUNS, Worker
from tests.engine.cluster import begin, check_runs, make_flow
from tests.engine.test_store_queue import drain, started

CHAIN = """
flow: chain
defaults: {timeout: 5s, retry: {max_attempts: 9}}
steps:
  - id: a
    function: {code: "1"}
  - id: b
    function: {code: "n + 1", input: {n: "${{ steps.a.output }}"}}
  - id: c
    function: {code: "n + 1", input: {n: "${{ steps.b.output }}"}}
output: {c: "${{ steps.c.output }}"}
"""
MIXED = (
    CHAIN.replace("flow: chain", "flow: mixed")
    .replace(
        """  - id: b
    function: {code: "n + 1", input: {n: "${{ steps.a.output }}"}}""",
        """  - id: b
    kv: {set: {key: "${{ run.id }}", value: 2}}
  - id: b2
    function: {code: "2"}""",
    )
    .replace("steps.b.output", "steps.b2.output")
)


class Commits:
    """Counts the transactions that `together.save` writes, and of how many runs each was."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.real = together.save

    def __call__(self, owner: str, records: Any) -> Any:
        self.sizes.append(len(records))
        return self.real(owner, records)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commits]:
    counted = Commits()
    monkeypatch.setattr(together, "save", counted)
    yield counted


def crowded(owner: str = "w") -> Worker:
    """A worker that claims as many rows as it ever does."""
    worker = Worker(owner)
    worker.room = MAX_RUNS
    return worker


def test_runs_side_by_side_share_commits_and_end_as_alone(database: str, commits: Commits) -> None:
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(MAX_RUNS)]
    worker = crowded()
    assert worker.work_once()
    drain(worker)
    check_runs(runs)
    assert {str(o) for o in Run.objects.values_list("output", flat=True)} == {"{'c': 3}"}
    assert commits.sizes[0] == MAX_RUNS
    assert not RunEvent.objects.filter(type="step.lost").exists()


def test_what_is_sent_for_each_step_is_prepared(database: str) -> None:
    if connection.vendor != "postgresql":
        assert connection.vendor == "sqlite"  # which compiles each statement once anyway
        return
    flow = make_flow(CHAIN)
    begin(flow)
    drain(Worker("w"))
    for _ in range(4):
        begin(flow)
    drain(crowded())
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = " ".join(statement for (statement,) in cursor.fetchall())
    for hot in (
        hot_statements._LOCKED,
        "UPDATE runs_run AS r",
        "INSERT INTO runs_steprun",
        "INSERT INTO runs_runevent",
    ):
        assert hot.split("WHERE")[0].strip() in prepared


def test_every_result_is_committed_before_its_successor_is_executed(
    database: str, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Slice.execute

    def execute(slice_: Slice, attempt: Any) -> Happened:
        stored = store.load(slice_.loaded.state.run_id)
        assert stored is not None and stored.state.step(*attempt.step.key).status == "running"
        needs = stored.plan.step(attempt.step.id).needs
        assert all(stored.state.step(n).status == "succeeded" for n in needs)
        return real(slice_, attempt)

    monkeypatch.setattr(Slice, "execute", execute)
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(5)]
    drain(crowded())
    check_runs(runs)
    assert max(commits.sizes) == 5


def test_a_step_with_an_effect_is_executed_by_a_worker_that_carries_nothing_else(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow(MIXED)
    runs = [begin(flow) for _ in range(6)]
    real, worker = Slice.execute, crowded()

    def execute(slice_: Slice, attempt: Any) -> Happened:
        if attempt.step.id == "b":
            held = Work.objects.filter(owner=worker.owner).count()
            assert (slice_.shared, held) == (False, 1)
        return real(slice_, attempt)

    monkeypatch.setattr(Slice, "execute", execute)
    drain(worker)
    check_runs(runs)


def pair() -> tuple[Slice, Slice]:
    """Two runs in the hands of one worker, each with its first step started."""
    flow = make_flow(CHAIN)
    begin(flow), begin(flow)
    return started("w"), started("w")


def ending(slice_: Slice, output: Any) -> together.Record:
    """Its first step has ended: what it would write."""
    ended = given.AttemptEnded("a", -1, 1, "done", output=output)
    slice_.shared = True
    proposal = slice_.propose([Happened(just(ended), slice_.rows["a", -1])])
    assert proposal.saving is not None
    record = together.record(slice_.loaded, proposal.saving)
    assert record is not None
    return record


def output_of(slice_: Slice) -> tuple[str, Any]:
    fresh = store.load(slice_.loaded.state.run_id)
    assert fresh is not None
    return fresh.state.step("a").status, fresh.state.step("a").output


def test_a_run_that_moved_drops_out_of_the_commit_alone(database: str) -> None:
    one, two = pair()
    records = [ending(one, 1), ending(two, 2)]
    history.append(one.loaded.state.run_id, "callback.received")
    first, second = together.save("w", records)
    assert isinstance(first, Stale) and isinstance(second, tuple)
    assert (output_of(one), output_of(two)) == (("running", None), ("succeeded", 2))


def test_a_run_whose_fence_fails_drops_out_of_the_commit_alone(database: str) -> None:
    one, two = pair()
    records = [ending(one, 1), ending(two, 2)]
    Work.objects.filter(run_id=two.loaded.state.run_id).update(owner="other", fence=7)
    first, second = together.save("w", records)
    assert isinstance(first, tuple) and not isinstance(second, tuple)
    assert (output_of(one), output_of(two)) == (("succeeded", 1), ("running", None))
    row = Work.objects.get(run_id=two.loaded.state.run_id)
    assert (row.owner, row.fence, row.step) == ("other", 7, "a")


def test_a_database_lost_in_the_shared_commit_loses_no_result(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(4)]
    real, faults = together.save, iter(["after", "before", "after"])

    def save(owner: str, records: Any) -> Any:
        fault = next(faults, None)
        done = None if fault == "before" else real(owner, records)
        if fault is not None:  # committed or not: nobody heard
            connection.close()
            raise OperationalError("gone")
        return done

    monkeypatch.setattr(together, "save", save)
    drain(crowded())
    check_runs(runs)


def test_a_run_that_breaks_its_worker_takes_no_other_with_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(4)]
    real = Slice.propose

    def propose(slice_: Slice, happened: Any) -> Any:
        if slice_.loaded.state.run_id == runs[1]:
            raise RuntimeError("a damaged row")
        return real(slice_, happened)

    monkeypatch.setattr(Slice, "propose", propose)
    crowded().work_once()
    assert [r for r in runs if Run.objects.get(pk=r).ended_at is None] == [runs[1]]
    row = Work.objects.get(run_id=runs[1])
    assert row.owner is None and row.wake_at is not None and row.wake_at > clock.now()


def test_a_slow_step_is_carried_on_though_others_were_claimed_with_it(database: str, commits: Commits) -> None:
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(4)]
    worker = crowded()
    loaded = store.load(runs[0])
    assert loaded is not None
    for step in "abc":
        worker.pace.note(loaded, step, 9.0)
    drain(worker)
    check_runs(runs)


def test_waiting_for_the_processor_ends_no_round(
    database: str, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(4)]
    worker, loaded = crowded(), store.load(runs[0])
    assert loaded is not None
    for step in "abc":
        worker.pace.note(loaded, step, crew.SHARE / 100)
    setattr(worker.pace, "note", lambda *_: None)  # noqa: B010  what it is known to take
    real = Slice.execute

    def execute(slice_: Slice, attempt: Any) -> Happened:
        time.sleep(crew.SHARE)
        return real(slice_, attempt)

    monkeypatch.setattr(Slice, "execute", execute)
    drain(worker)
    check_runs(runs)
    assert commits.sizes == [4] * 4


def test_a_step_is_slow_after_three_slow_attempts_or_from_the_beginning() -> None:
    pace = Pace()
    loaded: Any = type("L", (), {"release_id": 1})
    pace.note(loaded, "new", 1.0)
    pace.note(loaded, "known", 0.001)
    for seen in (False, False, True):
        pace.note(loaded, "known", 1.0)
        assert pace.is_slow(loaded, "new") and pace.is_slow(loaded, "known") is seen


def test_pace_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.pace.KEPT", 2)
    pace = Pace()
    loaded: Any = type("L", (), {"release_id": 1})
    for step in "abc":
        pace.note(loaded, step, 1.0)
    assert [pace.is_slow(loaded, step) for step in "abc"] == [False, True, True]
    pace.note(loaded, "b", 0.001)
    assert pace.is_quick(loaded, "b") and not pace.is_slow(loaded, "b") and not pace.is_quick(loaded, "a")


# -- claims of several rows ----------------------------------------------------------------------------------------
def test_only_quick_rows_are_claimed_together_and_the_first_decides(database: str) -> None:
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(4)]
    for rank, run in enumerate(runs):
        Work.objects.filter(run_id=run).update(rank=100.0 + rank, quick=rank in (1, 3))
    assert [c.run_id for c in queue.claim_some("w", limit=4)] == [runs[0]]
    assert {c.run_id for c in queue.claim_some("w", limit=4)} == {runs[1], runs[3]}
    assert [c.run_id for c in queue.claim_some("w", limit=4)] == [runs[2]]


def test_ready_rows_and_due_times_are_compared(database: str) -> None:
    flow = make_flow(CHAIN)
    ready, due, later = begin(flow), begin(flow), begin(flow)
    now = clock.now()
    Work.objects.filter(run_id=ready).update(rank=now - 5)
    Work.objects.filter(run_id=due).update(rank=None, wake_at=now - 9, quick=False)
    Work.objects.filter(run_id=later).update(rank=None, wake_at=now + 60)
    claims = [c.run_id for c in iter(lambda: queue.claim("w"), None)]
    assert claims == [due, ready]


def test_a_worker_takes_from_its_own_queues_only(database: str) -> None:
    flow = make_flow(CHAIN)
    mine, other = begin(flow), begin(flow)
    Work.objects.filter(run_id=mine).update(queue="fast")
    claims = [c.run_id for c in iter(lambda: queue.claim("w", ["fast"]), None)]
    assert claims == [mine] and queue.look(5, ["fast"]) == [Work.objects.get(run_id=mine).wake_at]
    assert [c.run_id for c in iter(lambda: queue.claim("w", ["slow", "default"]), None)] == [other]


def test_a_turn_with_a_step_that_acts_ends_by_the_clock_and_one_that_computes_by_its_own_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Crew] = []
    leave = Crew._leave

    def noted(turn: Crew, slice_: Slice) -> None:
        made.append(turn)
        leave(turn, slice_)

    monkeypatch.setattr(Crew, "_leave", noted)
    for text in (CHAIN, MIXED):
        begin(make_flow(text))
        drain(Worker("w"))
    begin(make_flow(CHAIN.replace("flow: chain", "flow: other")))  # somebody waits for a worker
    assert {turn.computed for turn in made} == {True, False}
    for turn in made:
        turn.began = time.monotonic() - 1.5 * SLICE, time.process_time()
        assert turn._should_yield() is not turn.computed
        turn.began = time.monotonic(), time.process_time() - SLICE
        assert not turn._should_yield()
        turn.began = time.monotonic() - SLICE, time.process_time() - SLICE
        assert turn._should_yield()
