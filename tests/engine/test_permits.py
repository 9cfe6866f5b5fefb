"""Limits of a connection on the real tables of both databases: who waits, who is next, what gives a permit back."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flows.steps import base
from flows.steps.registry import family
from resources.errors import Conflict
from resources.limits import ledger
from resources.models import Connection, ConnectionLimit, Permit
from runs import actions, clock, permits, queue, store
from runs.engine import inputs as given
from runs.meaning import just, meaning_of
from runs.models import Run, RunEvent, StepRun, Work
from runs.slice import Happened, Slice
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, ended, make_flow, wait_until
from tests.engine.test_store_queue import drain, in_thread

FLOW = """
flow: limited
defaults: {timeout: 5s, retry: {max_attempts: 3, initial: 1ms, max: 1ms}}
steps:
  - id: a
    http: {connection: ci, method: POST, path: /status, json: {}}
output: {a: "${{ steps.a.status }}"}
"""
A = ("a", -1)
URL = {"base_url": "http://127.0.0.1:9", "allow_networks": ["127.0.0.0/8"]}


@pytest.fixture
def ci(database: str) -> Iterator[Any]:
    """Sets the limits of connection ci."""
    Connection.objects.create(name="ci", kind="http", settings=URL)

    def limit(**limits: Any) -> None:
        Connection.objects.filter(name="ci").update(settings={**URL, "limits": limits})
        permits.forget()

    yield limit
    permits.forget()


class Hand:
    """A worker driven step by step: it begins attempts and ends them with the outcome it is told."""

    def __init__(self, owner: str) -> None:
        self.worker = Worker(owner)
        self.slice: Slice | None = None

    def begin(self) -> str | None:
        """Claim a row and begin its step. Gives the run, or None where nothing is due or the step may not begin."""
        claim = queue.claim(self.worker.owner)
        if claim is None:
            return None
        loaded = store.load(claim.run_id)
        assert loaded is not None
        slice_ = Slice(self.worker, loaded, claim)
        if not slice_.commit([Happened(meaning_of(claim), claim)]):
            return None
        self.slice = slice_
        return claim.run_id

    def end(self, outcome: str = "done", cls: str = "", after: float | None = None) -> None:
        assert self.slice is not None
        error = {"class": cls, "message": "…"} if cls else None
        attempt = self.slice.loaded.state.step("a").attempt
        ended = given.AttemptEnded("a", -1, attempt, outcome, error=error, after=after)
        self.slice.commit([Happened(just(ended), self.slice.rows[A])])
        self.slice = None


def begin_all(hands: list[Hand]) -> list[str]:
    """The runs whose step has begun now."""
    return [run for hand in hands if hand.slice is None and (run := hand.begin())]


def hands(n: int) -> list[Hand]:
    return [Hand(f"w{i}") for i in range(n)]


def held_by(run: str) -> str:
    return Work.objects.get(run_id=run).held_by


def book() -> Any:
    return ledger.book_of(ConnectionLimit.objects.get().book)


def shift(seconds: float) -> None:
    """As if all this had happened `seconds` earlier."""
    for row in ConnectionLimit.objects.all():
        times = ("refilled_at", "opened_at", "probe_at", "shut_until", "shrunk_at")
        row.book = {k: v - seconds if k in times and v else v for k, v in row.book.items()}
        row.save()
    for permit in Permit.objects.all():
        permit.since -= seconds
        permit.due = None if permit.due is None else permit.due - seconds
        permit.save()
    for work in Work.objects.filter(owner=None, wake_at__isnull=False):
        work.wake_at = (work.wake_at or 0.0) - seconds
        work.save()


# -- concurrency -------------------------------------------------------------------------------------------------
def test_no_more_than_allowed_begin_and_the_rest_is_held_and_says_by_what(ci: Any) -> None:
    ci(concurrency=2)
    flow = make_flow(FLOW)
    runs = [begin(flow) for _ in range(4)]
    assert begin_all(hands(4)) == runs[:2]
    for run in runs[2:]:
        row = Work.objects.get(run_id=run)
        assert (row.wake_at, row.owner, row.held_by) == (None, None, "connection ci: 2 at a time")
        assert StepRun.objects.get(run_id=run).attempt == 0, "no attempt is spent"
        assert RunEvent.objects.get(run_id=run, type="step.held").data == {"by": "connection ci: 2 at a time"}
    assert queue.look(9) == [row.wake_at for row in Work.objects.filter(owner__isnull=False).order_by("wake_at")]


def test_an_end_admits_the_one_that_has_waited_longest_and_nobody_overtakes_it(ci: Any) -> None:
    ci(concurrency=1)
    flow = make_flow(FLOW)
    first, second, third = begin(flow), begin(flow), begin(flow)
    one, other = Hand("one"), Hand("other")
    assert one.begin() == first and other.begin() is None and other.begin() is None
    late = begin(flow)
    Work.objects.filter(run_id=late).update(wake_at=1.0)  # its row is claimed first; its turn is last
    one.end()
    assert Work.objects.get(run_id=second).wake_at is not None and held_by(second) == ""
    order = []
    for _ in range(9):
        if (run := one.begin()) is not None:
            order.append(run)
            one.end()
    assert order == [second, third, late]
    assert not Permit.objects.exists() and set(Run.objects.values_list("status", flat=True)) == {"succeeded"}
    started = RunEvent.objects.get(run_id=second, type="step.started")
    assert started.data["held"] >= 0.0
    for run in Run.objects.values_list("pk", flat=True):
        check_fold(run)


def test_a_chain_of_steps_does_not_keep_its_permit_from_those_who_wait(ci: Any) -> None:
    ci(concurrency=1)
    chain = FLOW.replace("flow: limited", "flow: chain").replace("output:", "#").rstrip() + "\n"
    chain += "  - id: b\n    http: {connection: ci, method: POST, path: /status, json: {}}\n"
    longer, shorter = make_flow(chain), make_flow(FLOW)  # beforehand: who starts later is behind as far as the line is
    first, second = begin(longer), begin(shorter)
    one, other = Hand("one"), Hand("other")
    assert one.begin() == first and other.begin() is None
    one.end()  # its own next step asks in this very commit
    assert held_by(first) == "connection ci: 1 at a time"
    assert other.begin() == second


def test_a_dead_workers_permit_comes_back_at_once(ci: Any) -> None:
    ci(concurrency=1)
    flow = make_flow(FLOW)
    first, second = begin(flow), begin(flow)
    one, other = Hand("one"), Hand("other")
    assert one.begin() == first and other.begin() is None
    queue.end_leases("one", clock.now())
    assert not Permit.objects.filter(owner="one").exists()
    begun = [run for _ in range(3) if (run := other.begin())]
    assert begun == [second], "the lost attempt's step stands behind those who waited"
    other.end()
    while run := other.begin():
        assert run == first
        other.end()
    assert Run.objects.filter(status="succeeded").count() == 2 and not Permit.objects.exists()
    check_fold(first)


def test_an_expired_lease_gives_its_permit_back_with_the_takeover(ci: Any) -> None:
    ci(concurrency=1)
    run = begin(make_flow(FLOW))
    one, other = Hand("one"), Hand("other")
    assert one.begin() == run
    Work.objects.update(wake_at=clock.now() - 1)
    assert other.begin() == run
    assert Permit.objects.get().owner == "other"
    assert RunEvent.objects.filter(type="step.lost").exists()


@pytest.mark.parametrize("how", ["cancel_run", "broken"])
def test_what_ends_without_an_attempt_leaves_the_line(ci: Any, how: str) -> None:
    from runs import broken

    ci(concurrency=1)
    flow = make_flow(FLOW)
    first, second = begin(flow), begin(flow)
    one = Hand("one")
    assert one.begin() == first and one.begin() is None
    if how == "cancel_run":
        actions.cancel_run(actor=SYSTEM, run_id=second)
    else:
        broken.fail(second)
        check_fold(second)
        permits.tend(clock.now() + ledger.LAPSE + 1)
    assert list(Permit.objects.values_list("run_id", flat=True)) == [first]


def test_a_paused_run_lets_others_go_first_and_keeps_its_place(ci: Any) -> None:
    ci(concurrency=1)
    flow = make_flow(FLOW)
    first, second, third, fourth = (begin(flow) for _ in range(4))
    one = Hand("one")
    assert one.begin() == first
    assert [Hand("x").begin() for _ in range(3)] == [None] * 3
    actions.pause_run(actor=SYSTEM, run_id=second)
    hand = Hand("two")
    one.end()
    assert hand.begin() == third
    actions.resume_run(actor=SYSTEM, run_id=second)
    assert Hand("x").begin() is None and held_by(second) == "connection ci: 1 at a time"
    hand.end()
    assert hand.begin() == second
    hand.end()
    assert hand.begin() == fourth


def test_the_promise_to_a_run_that_is_paused_goes_to_the_next_at_once(ci: Any) -> None:
    ci(concurrency=1)
    flow = make_flow(FLOW)
    first, second, third = (begin(flow) for _ in range(3))
    one = Hand("one")
    assert one.begin() == first and one.begin() is None and one.begin() is None
    one.end()
    assert Work.objects.get(run_id=third).wake_at is None
    actions.pause_run(actor=SYSTEM, run_id=second)
    assert one.begin() == third


def test_a_promise_that_nobody_takes_up_goes_to_the_next(ci: Any) -> None:
    ci(concurrency=1)
    flow = make_flow(FLOW)
    first, second, third = (begin(flow) for _ in range(3))
    one = Hand("one")
    assert one.begin() == first and one.begin() is None and one.begin() is None
    one.end()
    Work.objects.filter(run_id=second).update(wake_at=clock.now() + 1000)
    permits.tend(clock.now())
    assert Hand("x").begin() is None, "it is still the second's"
    permits.tend(clock.now() + ledger.LAPSE + 1)
    assert Hand("x").begin() == third


def test_a_change_of_the_limits_lets_those_who_wait_go_on(ci: Any) -> None:
    from resources import connections

    ci(concurrency=1)
    flow = make_flow(FLOW)
    runs = [begin(flow) for _ in range(3)]
    three = hands(3)
    assert begin_all(three) == runs[:1]
    connections.update_connection(actor=SYSTEM, name="ci", settings=URL)
    assert begin_all(three) == runs[1:]
    for hand in three:
        hand.end()
    assert not Permit.objects.exists() and not ConnectionLimit.objects.exists()


def test_a_deleted_connection_holds_nobody(ci: Any) -> None:
    from resources import connections

    ci(concurrency=1)
    flow = make_flow(FLOW)
    runs = [begin(flow) for _ in range(2)]
    one = Hand("one")
    assert one.begin() == runs[0] and one.begin() is None
    connections.delete_connection(actor=SYSTEM, name="ci")
    drain(Worker("w"))
    assert Run.objects.get(pk=runs[1]).error["class"] == "refused"


# -- rate --------------------------------------------------------------------------------------------------------
def test_a_rate_says_when_the_next_token_comes_and_only_the_next_knows_its_time(ci: Any) -> None:
    ci(rate={"count": 6, "per": "minute", "burst": 2})
    flow = make_flow(FLOW)
    runs = [begin(flow) for _ in range(5)]
    many = hands(5)
    assert begin_all(many) == runs[:2]
    due = [Work.objects.get(run_id=run).wake_at for run in runs[2:]]
    assert due[0] is not None and 8.0 < due[0] - clock.now() <= 10.0 and due[1:] == [None, None]
    assert held_by(runs[2]) == "connection ci: 6 a minute"
    shift(10.0)
    assert begin_all(many) == [runs[2]]
    assert Work.objects.get(run_id=runs[3]).wake_at is not None, "the next one knows its time now"


# -- the breaker -------------------------------------------------------------------------------------------------
BREAKER = {"failures": 2, "window": 60, "open_for": 30, "half_open": 1}


def fail_two(flow: Any) -> None:
    for _ in range(2):
        begin(flow)
        one = Hand("one")
        assert one.begin()
        one.end("fail", "http_5xx")
    assert book().breaker == "open"


def test_an_open_breaker_holds_everybody_lets_one_probe_through_and_closes_when_it_succeeds(ci: Any) -> None:
    ci(breaker=BREAKER)
    flow = make_flow(FLOW)
    fail_two(flow)
    runs = [begin(flow) for _ in range(3)]
    three = hands(3)
    assert begin_all(three) == []
    assert {held_by(run) for run in runs} == {"connection ci: circuit open"}
    due = [Work.objects.get(run_id=run).wake_at for run in runs]
    assert due[0] is not None and 25 < due[0] - clock.now() <= 30 and due[1:] == [None, None]
    shift(30.0)
    assert begin_all(three) == [runs[0]] and book().breaker == "half_open"
    next(hand for hand in three if hand.slice).end()
    assert book().breaker == "closed"
    assert begin_all(three) == runs[1:]


def test_a_probe_that_fails_opens_it_again(ci: Any) -> None:
    ci(breaker=BREAKER)
    flow = make_flow(FLOW)
    fail_two(flow)
    runs = [begin(flow) for _ in range(2)]
    one, other = hands(2)
    assert begin_all([one, other]) == []
    shift(30.0)
    assert one.begin() == runs[0]
    one.end("fail", "connect")
    assert (book().breaker, book().opened) == ("open", 2)
    assert other.begin() is None and (Work.objects.get(run_id=runs[1]).wake_at or 0.0) > clock.now() + 25


def test_a_lost_probe_makes_room_for_another(ci: Any) -> None:
    ci(breaker=BREAKER)
    flow = make_flow(FLOW)
    fail_two(flow)
    runs = [begin(flow) for _ in range(2)]
    one, other = hands(2)
    assert begin_all([one, other]) == []
    shift(30.0)
    assert one.begin() == runs[0] and other.begin() is None
    queue.end_leases("w0", clock.now())
    found = other.begin() or other.begin()  # the first look may be at the lost attempt, and record that
    assert found in runs and Permit.objects.get(owner="w1").probe


def test_an_open_breaker_fails_at_once_where_it_should(ci: Any) -> None:
    ci(breaker={**BREAKER, "on_open": "fail"})
    flow = make_flow(FLOW)
    fail_two(flow)
    run = begin(flow)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "failed" and Run.objects.get(pk=run).error["class"] == "circuit_open"
    assert StepRun.objects.get(run_id=run).attempt == 0
    check_fold(run)


def test_those_who_wait_when_it_opens_are_turned_away_too(ci: Any) -> None:
    ci(concurrency=1, breaker={**BREAKER, "failures": 1, "on_open": "fail"})
    flow = make_flow(FLOW)
    runs = [begin(flow) for _ in range(3)]
    one = Hand("one")
    assert one.begin() == runs[0] and one.begin() is None and one.begin() is None
    one.end("fail", "timeout")
    drain(Worker("w"))
    errors = [Run.objects.get(pk=run).error["class"] for run in runs]
    assert errors == ["timeout", "circuit_open", "circuit_open"] and not Permit.objects.exists()


def test_a_fallback_is_used_at_once_and_a_step_without_one_waits(ci: Any) -> None:
    ci(breaker={**BREAKER, "on_open": "fallback"})
    flow = make_flow(FLOW)
    fail_two(flow)
    plain = begin(flow)
    better = begin(
        make_flow(FLOW.replace("limited", "better").replace("json: {}}", "json: {}}\n    fallback: {value: {n: 0}}"))
    )
    drain(Worker("w"))
    assert held_by(plain) == "connection ci: circuit open"
    assert Run.objects.get(pk=better).status == "succeeded" and Run.objects.get(pk=better).control["degraded"]
    assert StepRun.objects.get(run_id=better).output == {"n": 0}
    check_fold(better)


# -- adapting ------------------------------------------------------------------------------------------------------
def test_a_429_closes_the_tap_for_everybody_and_shrinks_the_limit(ci: Any) -> None:
    ci(concurrency=4, adaptive={"min": 1})
    flow = make_flow(FLOW)
    first, second = begin(flow), begin(flow)
    one, other = Hand("one"), Hand("other")
    assert one.begin() == first
    one.end("fail", "http_429", after=20.0)
    assert other.begin() is None and held_by(second) == "connection ci: told to wait by the other side"
    assert 15 < (Work.objects.get(run_id=second).wake_at or 0) - clock.now() <= 20
    assert book().adapted == 2.0
    shift(20.0)
    assert other.begin() == second


# -- what it costs -------------------------------------------------------------------------------------------------
def test_a_connection_without_limits_costs_no_statement(ci: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    flow = make_flow(FLOW)
    seen = []
    for known in (False, True):
        begin(flow)
        permits.forget()
        if known:
            permits.limited()
        with CaptureQueriesContext(connection) as queries:
            one = Hand("one")
            assert one.begin()
            one.end()
        seen.append([q["sql"] for q in queries])
    assert not [sql for sql in seen[1] if ("limit" in sql.lower() and "resources_" in sql) or "permit" in sql]
    reads = [sql for sql in seen[0] if "resources_connectionlimit" in sql]
    assert len(reads) == 1, "once a second, a worker reads which connections have limits"


# -- all at once -----------------------------------------------------------------------------------------------------
CHAIN = """
flow: chain
defaults: {timeout: 5s, retry: {max_attempts: 9, initial: 1ms, max: 2ms}}
steps:
  - id: a
    http: {connection: ci, method: POST, path: /status, json: {}}
  - id: b
    http: {connection: other, method: POST, path: /status, json: {}}
  - id: each
    for_each: {items: [0, 1, 2]}
    http: {connection: ci, method: POST, path: /status, json: {}}
"""


class Outside:
    """Stands for the other side: counts who is there at a time, and fails now and then."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = threading.Lock(), Counter[str](), Counter[str]()
        self.dice = random.Random(7)

    def __call__(self, ctx: base.StepContext) -> base.Outcome:
        assert ctx.action.connection is not None
        name = ctx.action.connection["name"]
        with self.lock:
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
            fails = self.dice.random() < 0.1
        time.sleep(0.002)
        with self.lock:
            self.now[name] -= 1
        return base.Retry(base.StepError("http_4xx", "…")) if fails else base.Done({})


def test_workers_pauses_and_cancels_at_once_lose_nobody_and_break_no_limit(
    ci: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ci(concurrency=2)
    Connection.objects.create(name="other", kind="http", settings={**URL, "limits": {"concurrency": 1}})
    permits.forget()
    outside = Outside()
    monkeypatch.setattr(family("http"), "execute", outside)
    flow = make_flow(CHAIN)
    runs = [begin(flow) for _ in range(12)]
    over = threading.Event()

    @in_thread
    def work(owner: str) -> None:
        worker = Worker(owner)
        while not over.is_set():
            if not worker.work_once():
                time.sleep(0.002)
        worker.heart.stop()

    @in_thread
    def meddle() -> None:
        dice = random.Random(3)
        for n in range(24):
            run = dice.choice(runs)
            with contextlib.suppress(Conflict):
                actions.pause_run(actor=SYSTEM, run_id=run)
                time.sleep(0.01)
                actions.resume_run(actor=SYSTEM, run_id=run)
            with contextlib.suppress(Conflict):
                if n % 8 == 7:
                    actions.cancel_run(actor=SYSTEM, run_id=dice.choice(runs))

    with ThreadPoolExecutor(5) as pool:
        working = [pool.submit(work, f"w{i}") for i in range(4)]
        try:
            pool.submit(meddle).result(60)
            wait_until(lambda: ended(runs))
        finally:
            over.set()
        for future in working:
            future.result(10)
    assert outside.most["ci"] <= 2 and outside.most["other"] == 1
    assert set(Run.objects.values_list("status", flat=True)) <= {"succeeded", "cancelled"}
    assert not Permit.objects.exists() and not Work.objects.exists()
    for run in runs:
        check_fold(run)
