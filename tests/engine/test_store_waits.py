"""Answers to waits on both databases: early, first, second, late, in the caller's transaction."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from runs import actions, clock, queue, store, waits
from runs.actions import deliver
from runs.engine import inputs as given
from runs.engine.state import SUCCEEDED
from runs.models import Run, RunEvent, StepRun, WaitToken, Work
from runs.slice import Happened, Slice
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow
from tests.engine.test_store_queue import drain, in_thread

WAIT = """
flow: waits
defaults: {timeout: 5s, retry: {max_attempts: 3}}
steps:
  - id: before
    function: {code: "1"}
  - id: call
    wait: {callback: {timeout: 1h}}
  - id: after
    function: {code: "n", input: {n: "${{ steps.call.output }}"}}
output: {got: "${{ steps.after.output }}"}
"""


def token_of(run: str, step: str = "call") -> str:
    loaded = store.load(run)
    assert loaded is not None
    return waits.token_of(loaded.plan, run, step, -1, 1)


def types(run: str) -> list[str]:
    return list(RunEvent.objects.filter(run_id=run).order_by("seq").values_list("type", flat=True))


def check_history(run: str) -> None:
    row = Run.objects.get(pk=run)
    assert list(RunEvent.objects.filter(run_id=run).order_by("seq").values_list("seq", flat=True)) == list(
        range(1, row.seq + 1)
    )
    check_fold(run)


# -- answers -------------------------------------------------------------------------------------------------------
def test_an_answer_carries_the_run_on(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "waiting"
    assert deliver(token=token_of(run), payload=5, actor=SYSTEM, response={"ok": 1}).outcome == "accepted"
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": 5}
    assert not Work.objects.exists()
    check_history(run)


def test_an_answer_before_the_wait_opens_is_kept_and_used(database: str) -> None:
    run = begin(make_flow(WAIT))
    assert deliver(token=token_of(run), payload=6, actor=SYSTEM, response="thanks").outcome == "early"
    assert deliver(token=token_of(run), payload=7, actor=SYSTEM, response="no").response == "thanks"
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": 6}
    check_history(run)


def test_a_second_answer_gets_the_first_reply_and_a_late_one_a_conflict(database: str) -> None:
    run, other = begin(flow := make_flow(WAIT)), ""
    drain(Worker("w"))
    deliver(token=token_of(run), payload=1, actor=SYSTEM, response="first")
    again = deliver(token=token_of(run), payload=2, actor=SYSTEM, response="second")
    assert (again.outcome, again.response) == ("duplicate", "first")
    other = begin(flow)
    drain(Worker("w"))
    actions.cancel_run(actor=SYSTEM, run_id=other)
    assert deliver(token=token_of(other), payload=1, actor=SYSTEM).outcome == "late"
    assert Run.objects.get(pk=run).output == {"got": 1}
    assert [t for t in types(run) + types(other) if t.startswith("callback.")] == [
        "callback.received", "callback.duplicate", "callback.late",
    ]  # fmt: skip


def test_an_answer_after_the_expiry_is_late_even_before_the_timer_fired(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    WaitToken.objects.update(expires_at=clock.now() - 1)
    assert deliver(token=token_of(run), payload=1, actor=SYSTEM).outcome == "late"


@pytest.mark.parametrize("token", ["", "nonsense", f"01ARZ3NDEKTSV4RRFFQ69G5FAV-0-x-1-{'a' * 20}", "é-1-x-1-b"])
def test_a_token_that_is_not_ours_is_unknown(database: str, token: str) -> None:
    assert deliver(token=token, payload=1, actor=SYSTEM).outcome == "unknown"


def test_an_answer_taken_back_with_its_transaction_never_was(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert deliver(token=token_of(run), payload=1, actor=SYSTEM).outcome == "accepted"
        raise ZeroDivisionError
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "waiting"
    with transaction.atomic():
        assert deliver(token=token_of(run), payload=2, actor=SYSTEM).outcome == "accepted"
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": 2}


def test_of_eight_answers_at_once_one_counts(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    token, barrier = token_of(run), threading.Barrier(8)

    @in_thread
    def answer(n: int) -> str:
        barrier.wait()
        return deliver(token=token, payload=n, actor=SYSTEM, response=n).outcome

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(answer, range(8)))
    assert sorted(outcomes) == ["accepted"] + ["duplicate"] * 7
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"got": outcomes.index("accepted")}
    check_history(run)


def test_an_expiry_that_looked_before_the_answer_came_does_not_close_the_wait_over_it(database: str) -> None:
    run = begin(make_flow(WAIT))
    drain(Worker("w"))
    Work.objects.filter(kind="timer").update(wake_at=clock.now() - 1)
    claim = queue.claim("w")
    loaded = store.load(run)
    assert claim is not None and loaded is not None
    WaitToken.objects.filter(run_id=run).update(status="answered", answer=9, answered_at=clock.now())
    slice_ = Slice(Worker("w"), loaded, claim)
    seen: list[Any] = []

    def meaning(now_loaded: store.Loaded) -> given.Input:
        """The timer's, first; the worker asks again when the save was refused."""
        answer = waits.answer_of(now_loaded, "call", -1, 1) if seen else None
        seen.append(answer)
        return given.Answered("call", -1, 1, answer["payload"]) if answer else given.TimeUp("call", -1, 1)

    assert slice_.commit([Happened(meaning, claim)]) == [("after", -1)]
    assert len(seen) == 2
    assert StepRun.objects.get(step="call").status == SUCCEEDED


def test_no_timer_is_left_behind_by_a_wait_that_was_answered(database: str) -> None:
    flow = make_flow(
        WAIT.replace(
            'function: {code: "n"',
            'timeout: 6s\n    wait: {callback: {timeout: 2h}}\n  - id: z\n    function: {code: "n"',
        )
    )
    run = begin(flow)
    drain(Worker("w"))
    deliver(token=token_of(run), payload=1, actor=SYSTEM)
    drain(Worker("w"))
    assert [(w.kind, w.step) for w in Work.objects.all()] == [("timer", "after")]
