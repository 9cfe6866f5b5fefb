"""Starting, pausing, cancelling, limits, outputs and history on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from flows.definition import expr
from resources.errors import Conflict
from runs import actions, clock, queue, store
from runs.actions import deliver, start_run
from runs.engine import inputs as given
from runs.models import LimitKey, Run, StepRun, WaitToken, Work
from runs.slice import Happened
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, make_flow
from tests.engine.test_store_queue import ONE, carry, drain, in_thread, started
from tests.engine.test_store_waits import WAIT, check_history, token_of


# -- starting ------------------------------------------------------------------------------------------------------
def test_eight_starts_with_one_key_are_one_run(database: str) -> None:
    flow, barrier = make_flow(WAIT), threading.Barrier(8)

    @in_thread
    def start(_: int) -> tuple[str, bool]:
        barrier.wait()
        started = start_run(actor=SYSTEM, flow=flow, input={}, idempotency_key="k")
        return started.run.pk, started.created

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(start, range(8)))
    assert len({run for run, _ in found}) == 1 and [made for _, made in found].count(True) == 1
    assert Run.objects.count() == 1 and Work.objects.count() == 1


def test_a_key_with_another_input_is_a_conflict(database: str) -> None:
    flow = make_flow(WAIT.replace("steps:", "input: {type: object, properties: {n: {type: integer}}}\nsteps:", 1))
    start_run(actor=SYSTEM, flow=flow, input={"n": 1}, idempotency_key="k")
    with pytest.raises(Conflict) as caught:
        start_run(actor=SYSTEM, flow=flow, input={"n": 2}, idempotency_key="k")
    assert caught.value.stable_code == "idempotency_mismatch" and Run.objects.count() == 1


LIMITED = WAIT.replace("flow: waits", "flow: limited\nconcurrency: {key: all, limit: 2}")


def test_a_concurrency_key_admits_the_oldest_queued_run_when_a_place_is_free(database: str) -> None:
    flow = make_flow(LIMITED)
    runs = [begin(flow) for _ in range(5)]
    drain(Worker("w"))

    def begun() -> list[bool]:
        return [Run.objects.get(pk=r).started_at is not None for r in runs]

    assert begun() == [True, True, False, False, False]
    deliver(token=token_of(runs[1]), payload=1, actor=SYSTEM)
    drain(Worker("w"))
    assert begun() == [True, True, True, False, False]
    actions.cancel_run(actor=SYSTEM, run_id=runs[3])  # one that only queues frees no place
    drain(Worker("w"))
    assert begun() == [True, True, True, False, False]
    actions.cancel_run(actor=SYSTEM, run_id=runs[0])
    drain(Worker("w"))
    assert begun() == [True, True, True, False, True]
    for run in (runs[2], runs[4]):
        actions.cancel_run(actor=SYSTEM, run_id=run)
    drain(Worker("w"))
    assert LimitKey.objects.get().active == 0 and not Work.objects.exists()


def test_starts_at_once_never_exceed_the_limit(database: str) -> None:
    flow, barrier = make_flow(LIMITED), threading.Barrier(6)

    @in_thread
    def start(_: int) -> None:
        barrier.wait()
        begin(flow)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(start, range(6)))
    assert (Run.objects.filter(placed=True).count(), LimitKey.objects.get().active) == (2, 2)


def test_a_worker_killed_while_it_admits_leaves_the_row_to_another(database: str, monkeypatch: Any) -> None:
    flow = make_flow(LIMITED)
    runs = [begin(flow) for _ in range(3)]
    drain(Worker("w"))
    actions.cancel_run(actor=SYSTEM, run_id=runs[0])

    def die(*_: Any) -> int:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("runs.admission.admit", die)
        with pytest.raises(SystemExit):
            Worker("first").work_once()
    queue.end_leases("first", clock.now())
    drain(Worker("second"))
    assert Run.objects.get(pk=runs[2]).started_at is not None


# -- pause, cancel ---------------------------------------------------------------------------------------------
def test_a_pause_that_races_a_claim_wins(database: str) -> None:
    run = begin(make_flow(WAIT))
    slice_ = started("w")  # `before` runs
    actions.pause_run(actor=SYSTEM, run_id=run, reason="look")
    assert Run.objects.get(pk=run).status == "pausing"
    ended = given.AttemptEnded("before", -1, 1, "done", output=1)
    assert slice_.commit([Happened(lambda _: ended, slice_.rows["before", -1])]) == []
    assert Run.objects.get(pk=run).status == "paused"
    assert queue.claim("w") is None
    actions.resume_run(actor=SYSTEM, run_id=run)
    drain(Worker("w"))
    assert StepRun.objects.get(step="call").status == "waiting"
    check_history(run)


def test_a_row_claimed_before_the_pause_is_held_back_and_comes_back_at_resume(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    deliver(token=token_of(run), payload=3, actor=SYSTEM)
    claim = queue.claim("w")
    assert claim is not None
    actions.pause_run(actor=SYSTEM, run_id=run)
    loaded = store.load(run)
    assert loaded is not None
    carry(Worker("w"), loaded, claim)
    assert Run.objects.get(pk=run).status == "paused"
    drain(Worker("w"))
    actions.resume_run(actor=SYSTEM, run_id=run)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": 3}


def test_a_resume_between_looking_and_holding_back_loses_nothing(database: str, monkeypatch: Any) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    deliver(token=token_of(run), payload=3, actor=SYSTEM)
    claim = queue.claim("w")
    assert claim is not None
    actions.pause_run(actor=SYSTEM, run_id=run)
    loaded = store.load(run)
    assert loaded is not None
    actions.resume_run(actor=SYSTEM, run_id=run)  # after the worker looked
    carry(Worker("w"), loaded, claim)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": 3}


def test_an_answer_to_a_paused_run_is_kept_until_it_goes_on(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    actions.pause_run(actor=SYSTEM, run_id=run)
    assert deliver(token=token_of(run), payload=4, actor=SYSTEM).outcome == "accepted"
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "paused"
    actions.resume_run(actor=SYSTEM, run_id=run)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": 4}
    check_history(run)


def test_cancel_closes_the_wait_and_empties_the_queue(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    actions.cancel_run(actor=SYSTEM, run_id=run, reason="enough")
    assert Run.objects.get(pk=run).status == "cancelled"
    assert WaitToken.objects.get(run_id=run).status == "closed" and not Work.objects.exists()
    with pytest.raises(Conflict):
        actions.cancel_run(actor=SYSTEM, run_id=run)
    check_history(run)


# -- outputs, history, rule 4 --------------------------------------------------------------------------------------
def test_an_output_over_the_limit_becomes_a_resource(database: str) -> None:
    flow = make_flow(ONE.replace('code: "1"', "code: \"'x' * 70000\""))
    run = begin(flow)
    drain(Worker("w"))
    output = StepRun.objects.get(run_id=run).output
    assert output["$res"].startswith("res://") and output["size"] == 70002
    check_history(run)


def test_history_is_never_rewritten(database: str) -> None:
    begin(make_flow(WAIT))
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE runs_runevent SET type = 'x'")


def test_no_expression_runs_inside_a_transaction(database: str, monkeypatch: Any) -> None:
    seen: list[str] = []
    evaluate = expr.evaluate

    def watched(text: str, scope: Any) -> Any:
        assert not connection.in_atomic_block, text
        seen.append(text)
        return evaluate(text, scope)

    monkeypatch.setattr(expr, "evaluate", watched)
    flow = make_flow(WAIT.replace("  - id: after", "  - id: after\n    if: ${{ steps.call.output > 1 }}"))
    run = begin(flow)
    drain(Worker("w"))
    deliver(token=token_of(run), payload=5, actor=SYSTEM)
    actions.pause_run(actor=SYSTEM, run_id=run)
    actions.resume_run(actor=SYSTEM, run_id=run)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": 5} and len(seen) >= 3
