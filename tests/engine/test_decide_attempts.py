"""Attempts: success, retry, failure, fallback, lost, unknown; late, duplicate and fenced results."""

from __future__ import annotations

import pytest

from flows.definition.plan import Fallback, ForEach, Retry
from runs.engine.state import idempotency_key
from tests.engine.game import ERROR, Game, plan, step

POLICY = Retry(max_attempts=3, initial=2.0, factor=2.0, max=60.0, jitter="none")


def one(**rest: object) -> Game:
    return Game(plan(step("a", **{"retry": POLICY, **rest}), step("z", needs=("a",))))  # type: ignore[arg-type]


def test_an_attempt_starts_only_a_step_that_is_ready() -> None:
    game = one()
    game.begin("z")
    assert game.refused
    game.begin("a")
    assert (game["a"].status, game["a"].attempt, game.state.status) == ("running", 1, "running")
    game.begin("a")
    assert game.refused


@pytest.mark.parametrize("outcome", ["done", "fail", "retry", "wait"])
def test_a_second_result_of_an_attempt_changes_nothing(outcome: str) -> None:
    game = one()
    game.done("a", 1)
    game.end("a", outcome, attempt=1, output=2, error=ERROR, wait={"kind": "timer"})
    assert game.refused and game["a"].output == 1


def test_the_result_of_an_attempt_that_was_given_up_is_fenced_off() -> None:
    game = one()
    game.begin("a")
    game.lose("a")
    game.begin("a")
    game.end("a", "done", attempt=1, output="zombie")
    assert game.refused and game["a"].status == "running"
    game.end("a", "done", attempt=2, output="real")
    assert game["a"].output == "real"


def test_a_step_that_settled_never_starts_again() -> None:
    game = one()
    game.done("a")
    game.begin("a")
    assert game.refused


def test_every_attempt_of_a_pass_has_the_same_key() -> None:
    game = one()
    keys = set()
    for _ in range(3):
        game.begin("a")
        keys.add(idempotency_key("R", game["a"]))
        game.end("a", "retry", error=ERROR)
    assert keys == {"R:a:1"}


# -- retry ---------------------------------------------------------------------------------------------------------
def test_a_retry_is_put_off_and_the_attempts_are_counted() -> None:
    game = one()
    game.retry("a")
    assert (game["a"].status, game["a"].wake_at) == ("backoff", 1002.0)
    game.retry("a")
    assert game["a"].wake_at == 1004.0
    game.retry("a")
    assert (game["a"].status, game["a"].error, game["z"].status) == ("failed", ERROR, "skipped")
    assert [e["attempt"] for e in game.told("step.started")] == [1, 2, 3]


def test_jitter_comes_from_the_input() -> None:
    game = one(retry=Retry(initial=10.0, jitter="full"))
    game.retry("a", rand=0.25)
    assert game["a"].wake_at == 1002.5


def test_retry_after_is_the_least_delay() -> None:
    game = one()
    game.retry("a", after=30.0)
    assert game["a"].wake_at == 1030.0


def test_no_retry_starts_after_the_window() -> None:
    game = one(retry=Retry(max_attempts=9, initial=4.0, factor=1.0, jitter="none", window=10.0))
    game.retry("a")
    game.now = 1006.0
    game.retry("a")
    assert game["a"].status == "backoff"
    game.now = 1006.5
    game.retry("a")
    assert game["a"].status == "failed"


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (Retry(give_up_on=("http_5xx",)), "failed"),
        (Retry(give_up_on=("http_4xx",)), "backoff"),
        (Retry(on=("connect",)), "failed"),
        (Retry(on=("http_5xx",)), "backoff"),
        (Retry(max_attempts=1), "failed"),
    ],
)
def test_the_policy_names_what_is_tried_again(policy: Retry, status: str) -> None:
    game = one(retry=policy)
    game.retry("a")
    assert game["a"].status == status


def test_a_terminal_failure_is_not_tried_again() -> None:
    game = one()
    game.fail("a")
    assert game["a"].status == "failed"


# -- fallback --------------------------------------------------------------------------------------------------
def test_a_fallback_value_stands_in_and_the_run_is_degraded() -> None:
    game = one(fallback=Fallback(value={"n": 0}))
    game.fail("a")
    assert (game["a"].status, game["a"].output, game["z"].status) == ("succeeded", {"n": 0}, "ready")
    assert game.state.degraded and game.told("step.fallback") == [{"error": ERROR}]
    game.done("z")
    assert game.state.status == "succeeded"


def test_a_fallback_value_is_worked_out_like_any_other_value() -> None:
    game = one(fallback=Fallback(value={"n": "${{ steps.a.attempts + 1 }}"}))
    game.fail("a")
    assert game["a"].output == {"n": 2}


def test_an_item_of_a_fan_out_falls_back_to_a_value_of_its_own() -> None:
    fallback = Fallback(value="${{ item }}-${{ item_index }}")
    game = Game(plan(step("f", for_each=ForEach(["x", "y"]), fallback=fallback)))
    game.fail("f", item=1)
    assert game["f", 1].output == "y-1"


def test_a_fallback_value_that_cannot_be_worked_out_fails_the_step() -> None:
    game = one(fallback=Fallback(value="${{ input.nothing }}"))
    game.fail("a")
    assert game["a"].status == "failed" and game["a"].error is not None and game["a"].error["class"] == "expression"


def test_a_fallback_action_gets_attempts_of_its_own_and_no_second_fallback() -> None:
    game = one(fallback=Fallback(family="function", config={}), retry=Retry(max_attempts=2, jitter="none"))
    game.retry("a")
    game.retry("a")
    assert (game["a"].status, game["a"].fallback, game["a"].tries) == ("ready", True, 0)
    game.retry("a")
    assert game["a"].status == "backoff"
    game.retry("a")
    assert game["a"].status == "failed"


def test_nothing_falls_back_while_the_run_is_cancelled() -> None:
    game = one(fallback=Fallback(value=1))
    game.begin("a")
    game.cancel()
    game.end("a", "fail", error=ERROR)
    assert (game["a"].status, game.state.status) == ("failed", "cancelled")


# -- lost and unknown --------------------------------------------------------------------------------------------
def test_a_lost_attempt_is_followed_by_another_at_once() -> None:
    game = one()
    game.begin("a")
    game.lose("a")
    assert (game["a"].status, game["a"].wake_at, game["a"].lost) == ("ready", 1000.0, 1)


def test_three_lost_in_a_row_are_terminal() -> None:
    game = one(retry=Retry(max_attempts=99))
    for _ in range(3):
        game.begin("a")
        game.lose("a")
    assert game["a"].status == "failed" and game["a"].error is not None
    assert game["a"].error["class"] == "lost"


def test_an_attempt_that_answers_breaks_the_row_of_lost_ones() -> None:
    game = one(retry=Retry(max_attempts=99, jitter="none"))
    for _ in range(2):
        for _ in range(2):
            game.begin("a")
            game.lose("a")
        game.retry("a")
    assert game["a"].status == "backoff"


def test_lost_attempts_count() -> None:
    game = one(retry=Retry(max_attempts=2))
    for _ in range(2):
        game.begin("a")
        game.lose("a")
    assert game["a"].status == "failed"


def test_only_the_running_attempt_can_be_lost() -> None:
    game = one()
    game.begin("a")
    game.lose("a")
    game.lose("a", attempt=1)
    assert game.refused
    game.begin("a")
    game.lose("a", attempt=1)
    assert game.refused
    assert game["a"].status == "running"


@pytest.mark.parametrize(
    ("irreversible", "repeatable", "status"),
    [(True, False, "unknown"), (True, True, "ready"), (False, False, "ready")],
)
def test_a_lost_irreversible_attempt_is_repeated_only_where_the_key_is_honoured(
    irreversible: bool, repeatable: bool, status: str
) -> None:
    game = one(irreversible=irreversible)
    game.begin("a")
    game.lose("a", repeatable=repeatable)
    assert game["a"].status == status


@pytest.mark.parametrize(
    ("acted", "repeatable", "status"),
    [(True, False, "unknown"), (False, False, "backoff"), (True, True, "backoff")],
)
def test_an_irreversible_attempt_that_may_have_acted_is_not_blindly_repeated(
    acted: bool, repeatable: bool, status: str
) -> None:
    game = one(irreversible=True, fallback=Fallback(value=1))
    game.retry("a", acted=acted, repeatable=repeatable)
    assert game["a"].status == status
    if status == "unknown":
        assert game.state.status == "failed" and game["z"].status == "skipped" and game.told("step.unknown")
        assert game.state.error is not None and game.state.error["class"] == "unknown_outcome"
