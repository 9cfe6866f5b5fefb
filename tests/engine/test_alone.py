"""Many tiny steps of one run are one worker's, for as long as it carries them; then they are everybody's. On both
databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs import clock, crew, queue, queue_rows, store
from runs.controls import pause_run, resume_run
from runs.models import Run, StepRun, Work
from runs.pace import QUICK, TINY, Pace
from runs.slice import Happened, Slice
from runs.starting import MAX_TINY
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_runs, make_flow, wait_until
from tests.engine.test_store_queue import drain

COUNT = 100
FAN = """
flow: fan
steps:
  - id: list
    function: {code: "[i for i in range(100)]"}
  - id: each
    for_each: {items: "${{ steps.list.output }}"}
    function: {code: "x * 2", input: {x: "${{ item }}"}}
  - id: join
    function: {code: "sum(xs)", input: {xs: "${{ steps.each.output }}"}}
output: {sum: "${{ steps.join.output }}"}
"""


class Killed(BaseException):
    """The worker's process ends here."""


def knowing(owner: str, run: str, seconds: float = TINY / 4) -> Worker:
    """A worker that has seen the items take this long."""
    worker, loaded = Worker(owner), store.load(run)
    assert loaded is not None
    for step in ("list", "each"):
        worker.pace.note(loaded, step, seconds)
    setattr(worker.pace, "note", lambda *_: None)  # noqa: B010  whatever else this machine does
    return worker


def at_item(monkeypatch: pytest.MonkeyPatch, owner: str, number: int, what: Callable[[Slice], object]) -> None:
    """Do this once, before `owner` executes its item of this number (counted from 1)."""
    real, seen = Slice.execute, [0]

    def execute(slice_: Slice, attempt: Any) -> Happened:
        if slice_.worker.owner == owner and attempt.step.id == "each":
            seen[0] += 1
            if seen[0] == number:
                what(slice_)
        return real(slice_, attempt)

    monkeypatch.setattr(Slice, "execute", execute)


def ready() -> list[queue.Claim]:
    """What a worker beside would find."""
    return queue.claim_some("other", limit=COUNT)


def attempts(run: str) -> list[int]:
    return sorted(StepRun.objects.filter(run_id=run, step="each", item__gte=0).values_list("attempt", flat=True))


def test_a_fan_out_of_tiny_steps_is_nobody_elses(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = begin(make_flow(FAN)), []
    at_item(monkeypatch, "first", 1, lambda _: found.append((ready(), queue.look(1)[0] - clock.now())))
    monkeypatch.setattr(crew, "SLICE", 1e9)
    assert queue_rows.ALONE + COUNT * queue_rows.ALONE_A_ROW < 1
    for name in ("ALONE", "ALONE_MAX"):  # however slow the machine, the first item comes before that
        monkeypatch.setattr(queue_rows, name, 300.0)
    assert knowing("first", run).work_once()
    ((claims, wait),) = found
    assert claims == [] and 0 < wait <= 300
    check_runs([run])
    assert Run.objects.get(pk=run).output == {"sum": 9900}
    assert attempts(run) == [1] * COUNT


def test_tiny_steps_are_started_by_the_dozen(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, sizes = begin(make_flow(FAN)), []
    at_item(monkeypatch, "first", 1, lambda s: sizes.append(len(s.rows)))
    drain(knowing("first", run))
    assert sizes == [MAX_TINY]


@pytest.mark.parametrize("seconds", [None, QUICK])
def test_steps_never_seen_or_not_tiny_are_everybodys_at_once(
    database: str, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    run, found = begin(make_flow(FAN)), []
    at_item(monkeypatch, "first", 1, lambda _: found.extend(ready()))
    worker = Worker("first") if seconds is None else knowing("first", run, seconds)
    worker.work_once()
    assert len(found) > COUNT / 2 and {claim.step for claim in found} == {"each"}


def test_a_worker_that_leaves_gives_the_rest_to_everybody_at_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow(FAN)
    run = begin(flow)
    worker = knowing("first", run)
    at_item(monkeypatch, "first", 1, lambda _: setattr(worker, "stopping", True))
    worker.work_once()
    left = Work.objects.filter(run_id=run, step="each")
    assert left.count() == COUNT - MAX_TINY
    ranks = [row.rank for row in left.order_by("item") if row.owner is None and row.rank is not None]
    assert len(ranks) == COUNT - MAX_TINY and ranks == sorted(set(ranks))  # in line as ever, in order
    drain(Worker("second"))
    check_runs([run])
    assert attempts(run) == [1] * COUNT


def test_steps_that_turn_out_slow_are_everybodys(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = begin(make_flow(FAN)), []
    worker = knowing("first", run)

    def slow(slice_: Slice) -> None:
        for _ in range(9):
            Pace.note(worker.pace, slice_.loaded, "each", 9.0)

    at_item(monkeypatch, "first", 1, slow)
    share = Slice.share

    def shared(slice_: Slice) -> None:
        share(slice_)
        found.extend(ready())

    monkeypatch.setattr(Slice, "share", shared)
    worker.work_once()
    assert len(found) >= COUNT - MAX_TINY - 1  # the save may have started one more


def test_who_takes_over_from_a_killed_worker_waits_for_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(make_flow(FAN))

    def die(_: Slice) -> None:
        raise Killed

    at_item(monkeypatch, "first", 1, die)
    with pytest.raises(Killed):
        knowing("first", run).work_once()
    queue.end_leases("first", clock.now())  # what the watcher does
    monkeypatch.setattr(crew, "SLICE", 1e9)
    second = knowing("second", run)
    second.work_once()
    drain(second)
    check_runs([run])
    assert set(attempts(run)) == {1, 2}  # those it had started were lost with it


def test_a_paused_run_keeps_its_rows_held(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(make_flow(FAN))
    at_item(monkeypatch, "first", 1, lambda _: pause_run(actor=SYSTEM, run_id=run))
    drain(knowing("first", run))
    assert ready() == [] and Work.objects.filter(run_id=run, held_at__isnull=False).exists()
    resume_run(actor=SYSTEM, run_id=run)
    second = Worker("second")
    wait_until(lambda: not second.work_once() and Run.objects.get(pk=run).ended_at)
    check_runs([run])
