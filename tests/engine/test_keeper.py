"""The keeper asks each duty when it is due, and one that breaks does not stop the others."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError

from runs import clock
from runs import keeper as keepers
from runs.keeper import AFTER_ERROR, NEVER, POLL, Keeper

pytestmark = pytest.mark.django_db


@pytest.fixture
def time_(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Time:
        now = 1000.0

    monkeypatch.setattr(clock, "now", lambda: Time.now)
    return Time


def test_a_duty_is_done_again_when_it_said_and_not_before(time_: Any) -> None:
    asked: list[float] = []

    def duty(now: float) -> float:
        asked.append(now)
        return now + 0.25

    keeper = Keeper({"a": duty})
    assert keeper.turn() == pytest.approx(0.25)
    time_.now += 0.1
    keeper.turn()
    time_.now += 0.15
    keeper.turn()
    assert asked == [1000.0, 1000.25]


def test_a_duty_that_is_due_much_later_is_asked_again_within_the_poll_interval(time_: Any) -> None:
    assert Keeper({"a": lambda now: now + 3600}).turn() == POLL


@pytest.mark.parametrize(("error", "pause"), [(DatabaseError("gone"), POLL), (ValueError("bug"), AFTER_ERROR)])
def test_a_duty_that_breaks_is_tried_again_and_the_others_are_done(time_: Any, error: Exception, pause: float) -> None:
    done: list[str] = []

    def broken(now: float) -> float | None:
        done.append("broken")
        raise error

    def works(now: float) -> float:
        done.append("b")
        return now

    keeper = Keeper({"a": broken, "b": works})
    keeper.turn()
    assert done == ["broken", "b"]
    time_.now += pause - 0.01
    keeper.turn()
    assert done == ["broken", "b", "b"]
    time_.now += 0.02
    keeper.turn()
    assert done == ["broken", "b", "b", "broken", "b"]


def test_a_duty_that_says_what_concerns_it_is_done_only_then(time_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def duty(name: str) -> keepers.Run:
        return lambda now: done.append(name)

    monkeypatch.setattr(keepers, "_duties", {})
    keepers.register("clock", duty("clock"), when=NEVER)
    keepers.register("late", duty("late"), when="%(now)s >= 1002")
    keepers.register("always", duty("always"), when="1 = 1")
    keeper = Keeper()
    for _ in range(3):
        keeper.next_glance = 0.0
        keeper.turn()
        time_.now += 1
    assert done == ["clock", "late", "always", "always", "late", "always"]


def test_a_keeper_at_idle_asks_one_question_for_all_duties_of_the_program(django_assert_num_queries: Any) -> None:
    keeper = Keeper()
    keeper.turn()
    for duty in keeper.duties:
        if duty.when is None:
            duty.due = clock.now() + 60  # such as the load, which is told every second
    keeper.next_glance = 0.0
    clock.measure()
    with django_assert_num_queries(1):
        keeper.turn()
