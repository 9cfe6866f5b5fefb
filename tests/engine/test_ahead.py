"""What a worker on PostgreSQL does while the server works, and what comes along with a claim."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection

from flows.steps.function import sandbox
from flows.steps.function.step import FunctionFamily
from runs import attempts, bell, hot, queue, store
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.engine.state import NO_ITEM, Key
from runs.models import Run
from runs.slice import Slice
from runs.store import Loaded
from runs.worker import Worker
from tests.engine.cluster import begin, check_runs, make_flow
from tests.engine.test_crew import CHAIN
from tests.engine.test_store_queue import drain

pytestmark = pytest.mark.parametrize("database", ["postgres"], indirect=True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened, in order: "look" ahead, "resolve", "checkout" of a sandbox, "saved", "run"."""
    seen: list[str] = []
    monkeypatch.setattr(attempts, "FRESH", 60.0)  # however slow the machine

    def noted(where: Any, name: str, word: str, *, after: bool = False) -> None:
        real = getattr(where, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if not after:
                seen.append(word)
            try:
                return real(*args, **kwargs)
            finally:
                if after:
                    seen.append(word)

        monkeypatch.setattr(where, name, call)

    noted(attempts.Ahead, "look", "look")
    noted(hot, "_write", "saved", after=True)
    noted(attempts, "action_of", "resolve")
    noted(sandbox, "_checkout", "checkout")
    noted(attempts.Attempt, "run", "run")
    return seen


def test_an_attempt_is_made_ready_while_the_save_that_starts_it_is_on_its_way(database: str, told: list[str]) -> None:
    run = begin(make_flow(CHAIN))
    drain(Worker("w"))
    check_runs([run])
    assert Run.objects.get(pk=run).output == {"c": 3}
    assert told == ["look", "resolve", "checkout", "saved", "run"] * 3 + ["saved"]


def test_nothing_is_executed_and_nothing_kept_when_the_save_came_too_late(
    database: str, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    run = begin(make_flow(CHAIN))
    real = hot._write
    overtaken: list[int] = []

    def overtake(*args: Any, **kwargs: Any) -> None:
        if not overtaken:
            overtaken.append(Run.objects.filter(pk=run).update(version=2))
        real(*args, **kwargs)

    monkeypatch.setattr(hot, "_write", overtake)
    drain(Worker("w"))
    check_runs([run])
    # of the first save nobody ran anything; the second looked again
    assert told[:9] == ["look", "resolve", "checkout", "saved"] * 2 + ["run"]


def test_whoever_asks_the_database_meanwhile_is_refused_and_does_not_wait_for_ever(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def asks(self: FunctionFamily, ctx: Any) -> None:
        try:
            Run.objects.count()
        except RuntimeError as error:
            refused.append(str(error))
            raise

    monkeypatch.setattr(FunctionFamily, "get_ready", asks)
    run = begin(make_flow(CHAIN))
    drain(Worker("w"))
    check_runs([run])
    assert Run.objects.get(pk=run).output == {"c": 3}
    assert len(refused) == 3


def test_what_was_made_ready_is_for_one_state_and_one_step_and_soon(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = fresh(begin(make_flow(CHAIN)))
    begun = loaded.at(decide(loaded.plan, loaded.state, given.Started(), 1.0).state)
    ahead, a, b = attempts.Ahead(), ("a", NO_ITEM), ("b", NO_ITEM)

    def ready_for(loaded: Loaded, key: Key) -> bool:
        ahead.look(a, begun)
        attempt = ahead.take(loaded, key)
        assert (attempt.loaded, attempt.step) == (loaded, loaded.state.step(*key))
        return attempt.context is not None

    monkeypatch.setattr(attempts, "FRESH", 60.0)  # however slow the machine
    assert ready_for(begun, a)
    assert ahead.take(begun, a).context is None  # it is taken once
    assert not ready_for(begun, b)
    assert not ready_for(loaded, a)
    monkeypatch.setattr(attempts, "FRESH", -1.0)
    assert not ready_for(begun, a)


def test_what_cannot_be_made_ready_is_left_to_the_attempt(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        tried.append(1)
        raise RuntimeError("no")

    tried: list[int] = []
    monkeypatch.setattr(FunctionFamily, "get_ready", broken)
    run = begin(make_flow(CHAIN))
    drain(Worker("w"))
    check_runs([run])
    assert len(tried) == 3


def test_a_claim_brings_a_run_along_that_nobody_has_touched(database: str) -> None:
    run = begin(make_flow(CHAIN))
    worker = Worker("w")
    (claim,) = queue.claim_some("w")
    (slice_,) = worker._slices([claim])
    assert slice_.loaded == fresh(run)
    queue.give_back(claim, "w", 0.0)
    Run.objects.filter(pk=run).update(version=2)
    (again,) = queue.claim_some("w")
    assert (again.run, claim.run is None) == (None, False)
    (slice_,) = worker._slices([again])
    assert slice_.loaded == fresh(run)
    assert isinstance(slice_, Slice)


def test_a_claim_that_found_something_rings_for_those_who_follow_elsewhere(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "_notified", {})
    with listening() as heard:
        assert queue.claim_some("w") == []
        assert heard() == []
        assert bell.is_due(bell.EVENTS)
        begin(make_flow(CHAIN))
        assert sorted(heard()) == ["orchestra_events", "orchestra_work"]
        monkeypatch.setattr(bell, "_notified", {})
        assert len(queue.claim_some("w")) == 1
        assert heard() == ["orchestra_events"]
        assert bell.EVENTS in bell._notified


def test_a_bell_for_elsewhere_does_not_wait_for_the_disk(database: str) -> None:
    with listening() as heard:
        bell.ring(bell.WORK, force=True)
        assert heard() == ["orchestra_work"]
    with connection.cursor() as cursor:  # and only the bell's own transaction did not
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%%orchestra_work%%'")
        assert "set_config('synchronous_commit', 'off', true)" in cursor.fetchall()[0][0]


def fresh(run: str) -> Loaded:
    loaded = store.load(run)
    assert loaded is not None
    return loaded


@contextmanager
def listening() -> Iterator[Any]:
    """Names of the channels that rang since it was last asked: a NOTIFY has arrived when a later query is answered."""
    connection.ensure_connection()
    other = psycopg.connect(connection.connection.info.dsn, password=connection.connection.info.password)
    other.autocommit = True
    for channel in ("orchestra_work", "orchestra_events"):
        other.execute(f"LISTEN {channel}")

    def heard() -> list[str]:
        return [one.channel for one in other.notifies(timeout=0.5)]

    with other:
        yield heard
