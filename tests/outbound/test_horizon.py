"""Ids are not commit order on PostgreSQL: nothing may be jumped over, and no reader of anything else holds it up."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from django.db import connection, connections, transaction

from runs.models import Delivery, RunEvent, Subscription
from runs.outbound import reader
from runs.outbound.duty import Outbox
from runs.outbound.horizon import Horizon
from tests.outbound.conftest import make_flow, make_run, tell, turn
from tests.outbound.receiver import Endpoint

WRITERS, EVENTS, LOOKS = 4, 25, 10  # writers go on until both are reached, on a machine of any speed


class Open:
    """A transaction of another connection that stays open between two calls."""

    def __init__(self, work: Any) -> None:
        self.done, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(work,))
        self.thread.start()
        assert self.done.wait(10)

    def _run(self, work: Any) -> None:
        try:
            with transaction.atomic():
                work()
                self.done.set()
                self.go.wait(20)
        finally:
            self.done.set()
            connections.close_all()

    def commit(self) -> None:
        self.go.set()
        self.thread.join(10)


def test_an_entry_that_commits_late_is_delivered_and_nothing_passes_it_by(
    database: str, receiver: Endpoint, subscribe: Any, outbox: Outbox
) -> None:
    if connection.vendor != "postgresql":
        return  # SQLite has one writer: nothing commits late
    subscribe()
    flow = make_flow()
    late, quick = make_run(flow), make_run(flow)
    open_ = Open(lambda: tell(late, "run.failed"))
    first = tell(quick, "run.started")
    for _ in range(20):
        outbox.run(time.time())
        time.sleep(0.01)
    assert Subscription.objects.get().cursor < first.pk
    open_.commit()
    turn(outbox, lambda: len(receiver.ids()) == 2)
    assert set(receiver.ids()) == {f"evt_{late.pk}_1", f"evt_{quick.pk}_1"}


def test_a_rolled_back_entry_holds_nobody_up(database: str) -> None:
    flow = make_flow()
    run = make_run(flow, "run.created")
    horizon = Horizon()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # an id that nobody will ever see
            cursor.execute("SELECT nextval(pg_get_serial_sequence('runs_runevent', 'id'))")
    last = tell(run, "run.started")
    assert horizon.look() == last.pk


def test_an_open_transaction_that_writes_no_history_holds_nobody_up(database: str) -> None:
    if connection.vendor != "postgresql":
        return
    flow = make_flow()
    other = Open(lambda: make_flow("another"))
    last = tell(make_run(flow), "run.started")
    assert Horizon().look() == last.pk
    other.commit()


def test_the_horizon_is_not_looked_at_within_a_transaction(database: str) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        Horizon().look()


def test_many_writers_with_transactions_of_all_lengths_and_no_entry_is_missed(
    database: str, receiver: Endpoint, subscribe: Any
) -> None:
    """The cursor is moved while they write; each entry becomes one delivery."""
    subscribe()
    flow = make_flow()
    runs = [make_run(flow) for _ in range(WRITERS)]

    watched = threading.Event()

    def write(index: int) -> None:
        try:
            for n in itertools.count():
                if n >= EVENTS and watched.is_set():
                    return
                with transaction.atomic():
                    tell(runs[index], "step.started", attempt=n)
                    time.sleep(0.001 * ((n * 7 + index * 3) % 12))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(index,)) for index in range(WRITERS)]
    for thread in threads:
        thread.start()
    horizon, looks = Horizon(), 0
    try:
        while any(thread.is_alive() for thread in threads):
            reader.read_on(horizon.look(), time.time())
            looks += 1
            if looks >= LOOKS:
                watched.set()
    finally:
        watched.set()
    for thread in threads:
        thread.join()
    for _ in range(3):
        reader.read_on(horizon.look(), time.time())
    wanted = set(RunEvent.objects.values_list("pk", flat=True))
    assert looks >= LOOKS
    assert len(wanted) >= WRITERS * EVENTS
    assert set(Delivery.objects.values_list("event", flat=True)) == wanted
