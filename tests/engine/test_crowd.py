"""Starts that come together share a commit on SQLite; each is told what became of it, and only of it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection

from flows.models import Flow
from resources.access import Actor
from resources.errors import Conflict
from runs import beginnings, flow_actions
from runs.actions import Started, start_run
from runs.models import Run, RunEvent, StartKey, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, make_flow
from tests.engine.test_store_queue import ONE, drain, in_thread
from tests.engine.test_store_waits import check_history

LONG = 60.0  # seconds; only a broken crowd takes it
Batches = list[list[bool]]

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Batches:
    """What each shared transaction wrote."""
    write, seen = beginnings._crowd._write, Batches()

    def watched(starts: Sequence[Any]) -> Sequence[bool]:
        seen.append(list(write(starts)))
        return seen[-1]

    monkeypatch.setattr(beginnings._crowd, "_write", watched)
    return seen


@contextmanager
def nobody_writes() -> Iterator[None]:
    """The turn of writers is somebody else's."""
    file = os.open(f"{connection.settings_dict['NAME']}-turn", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(file)


def together(starts: Sequence[Callable[[], Started]]) -> list[Future[Started]]:
    """All of them wait for the database at the same moment."""
    with ThreadPoolExecutor(len(starts)) as pool, nobody_writes():
        futures = [pool.submit(in_thread(one)) for one in starts]
        end = time.monotonic() + LONG
        while len(beginnings._crowd._waiting) < len(starts):
            assert time.monotonic() < end, "they do not gather"
            time.sleep(0.01)
    return futures


def starting(flow: Flow, key: str | None = None, **input_: Any) -> Callable[[], Started]:
    return lambda: start_run(actor=SYSTEM, flow=flow, input=input_, idempotency_key=key)


def test_those_that_wait_together_share_a_commit_and_run(database: str, batches: Batches) -> None:
    flow = make_flow(ONE)
    found = together([starting(flow, key=str(n)) for n in range(5)])
    assert batches == [[True] * 5]
    runs = {future.result().run.pk for future in found}
    assert len(runs) == 5 and all(future.result().created for future in found)
    assert set(StartKey.objects.values_list("run_id", flat=True)) == runs
    assert RunEvent.objects.filter(type="run.created").count() == Work.objects.count() == 5
    drain(Worker("w"))
    for run in runs:
        assert Run.objects.get(pk=run).status == "succeeded"
        check_history(run)


def test_two_with_one_key_are_one_run_also_in_one_commit(database: str, batches: Batches) -> None:
    flow = make_flow(ONE)
    found = [future.result() for future in together([starting(flow, key="k"), starting(flow, key="k")])]
    assert sorted(batches[0]) == [False, True]
    assert sorted(one.created for one in found) == [False, True]
    assert len({one.run.pk for one in found}) == 1 and Run.objects.count() == 1


def test_a_paused_flow_refuses_its_own_starts_and_no_others(database: str, batches: Batches) -> None:
    open_, paused = make_flow(ONE), make_flow(ONE.replace("flow: ", "flow: other-"))
    flow_actions.pause_flow(actor=SYSTEM, slug=paused.slug, reason="look", mode="refuse")
    found = together([starting(open_), starting(paused), starting(open_)])
    assert sorted(batches[0]) == [False, True, True]
    with pytest.raises(Conflict) as caught:
        found[1].result()
    assert caught.value.stable_code == "flow_paused"
    assert found[0].result().created and found[2].result().created and Run.objects.count() == 2


def test_one_that_the_database_refuses_fails_alone(database: str, batches: Batches) -> None:
    flow = make_flow(ONE)
    gone = Actor.of_user(User(pk=10**6, username="gone", is_superuser=True))
    bad = partial(start_run, actor=gone, flow=flow, input={}, source="hook:in")
    found = together([starting(flow), bad, starting(flow)])
    with pytest.raises(IntegrityError):
        found[1].result()
    assert found[0].result().created and found[2].result().created and Run.objects.count() == 2


def test_all_are_told_when_the_database_takes_nothing(
    database: str, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow(ONE)
    monkeypatch.setattr("resources.sqlite3.base.PATIENCE", 1.0)
    with nobody_writes(), ThreadPoolExecutor(3) as pool:
        found = [pool.submit(in_thread(starting(flow))) for _ in range(3)]
        for future in found:
            with pytest.raises(OperationalError, match="locked"):
                future.result(LONG)
    assert batches == [] and not Run.objects.exists()
    assert starting(flow)().created


def test_a_bug_of_the_writer_is_nobody_elses_and_the_next_start_goes_on(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, write = make_flow(ONE), beginnings._crowd._write

    def broken(starts: Sequence[Any]) -> Sequence[bool]:
        monkeypatch.setattr(beginnings._crowd, "_write", write)
        raise ZeroDivisionError

    monkeypatch.setattr(beginnings._crowd, "_write", broken)
    found = together([starting(flow) for _ in range(3)])
    errors = [future.exception() for future in found]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType", "NoneType", "ZeroDivisionError"]
    assert Run.objects.count() == 2
