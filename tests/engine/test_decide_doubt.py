"""Unknown outcomes: `effect` says what may be repeated, `already_done` is asked first."""

from __future__ import annotations

from typing import Any

import pytest

from flows.definition.plan import AlreadyDone, ForEach, Retry
from runs.engine import inputs as given
from runs.engine.state import idempotency_key
from tests.engine.game import Game, action, approval, plan, shown, step

ASK = AlreadyDone("http", {"path": "/x"}, "${{ check.output.found }}", "${{ check.output.id }}")
THRICE = Retry(max_attempts=3, initial=1.0, jitter="none")
SLOW = {"class": "timeout", "message": "Too slow."}


def game_of(**rest: Any) -> Game:
    return Game(plan(step("a", "http", retry=rest.pop("retry", THRICE), **rest), step("b", needs=("a",))))


def asked(game: Game, output: Any, item: int = -1) -> None:
    game.now += 60.0
    game.begin("a", item)
    assert game[("a", item)].doubt is not None
    game.end("a", "done", item, output=output)


@pytest.mark.parametrize(
    ("effect", "irreversible", "repeatable", "status"),
    [
        (None, False, False, "backoff"),
        (None, True, True, "backoff"),
        (None, True, False, "unknown"),
        ("none", False, False, "backoff"),
        ("idempotent", True, False, "backoff"),
        ("once", False, True, "unknown"),
        ("once", True, True, "unknown"),
    ],
)
def test_what_the_flow_declares_of_the_effect_counts_more_than_what_the_family_knows(
    effect: Any, irreversible: bool, repeatable: bool, status: str
) -> None:
    game = game_of(effect=effect, irreversible=irreversible)
    game.retry("a", error=SLOW, acted=True, repeatable=repeatable)
    assert game["a"].status == status
    game = game_of(effect=effect, irreversible=irreversible)
    game.begin("a")
    game.lose("a", repeatable=repeatable)
    assert game["a"].status == ("ready" if status == "backoff" else "unknown")
    game.fold()


def test_an_attempt_that_did_not_act_is_repeated_without_asking() -> None:
    game = game_of(effect="once", already_done=ASK)
    game.retry("a", error=SLOW, acted=False)
    assert (game["a"].status, game["a"].doubt) == ("backoff", None)


@pytest.mark.parametrize("lost", [True, False])
def test_what_happened_after_all_is_not_sent_again(lost: bool) -> None:
    game = game_of(effect="once", already_done=ASK)
    key = idempotency_key("R", game["a"])
    if lost:
        game.begin("a")
        game.lose("a", repeatable=False)
    else:
        game.retry("a", error=SLOW, acted=True, repeatable=False)
    assert game["a"].status == "ready"
    assert idempotency_key("R", game["a"]) == f"{key}:check", "asking is no repeat"
    asked(game, {"found": True, "id": 7})
    assert (game["a"].status, game["a"].output, game["a"].tries) == ("succeeded", 7, 1)
    assert game.told("step.checked")[0]["happened"] is True
    assert game["b"].status == "ready"
    game.fold()


def test_what_did_not_happen_is_repeated_as_the_policy_says() -> None:
    game = game_of(effect="once", already_done=ASK)
    game.retry("a", error=SLOW, acted=True, repeatable=False, after=30.0)
    asked(game, {"found": False})
    assert (game["a"].status, game["a"].wake_at) == ("backoff", game.now + 30.0)
    assert game["a"].doubt is None
    game.now += 60
    game.done("a", 1)
    assert game["a"].status == "succeeded"
    assert game["a"].tries == 2, "asking counts as no try"
    game.fold()


def test_when_the_tries_are_spent_it_is_asked_once_more_and_then_fails() -> None:
    game = game_of(already_done=ASK, retry=Retry(max_attempts=1))
    game.retry("a", error=SLOW, acted=True)
    asked(game, {"found": False})
    assert game["a"].status == "failed"
    assert game["a"].error == SLOW


def test_a_question_without_an_answer_is_asked_again_and_then_a_person_must_say() -> None:
    game = game_of(already_done=ASK, effect="once")
    game.begin("a")
    game.lose("a", repeatable=False)
    for _ in range(2):
        game.now += 60
        game.retry("a", error=SLOW)
        assert game["a"].status == "backoff"
    game.now += 60
    game.begin("a")
    game.end("a", "fail", error=SLOW)
    assert (game["a"].status, game["a"].error["class"]) == ("unknown", "unknown_outcome")  # type: ignore[index]
    assert game.state.status == "failed"
    game.fold()


def test_a_question_whose_worker_dies_is_asked_again() -> None:
    game = game_of(already_done=ASK)
    game.begin("a")
    game.lose("a")
    game.begin("a")
    game.lose("a")
    assert game["a"].doubt is not None
    asked(game, {"found": True, "id": 1})
    assert game["a"].status == "succeeded"
    game.fold()


def test_an_answer_that_cannot_be_read_is_no_answer() -> None:
    game = game_of(already_done=ASK, retry=Retry(max_attempts=1))
    game.begin("a")
    game.lose("a")
    asked(game, {"other": 1})
    assert game["a"].status == "unknown"


def test_three_lost_attempts_in_a_row_are_terminal_though_asked_about_in_between() -> None:
    game = game_of(already_done=ASK, retry=Retry(max_attempts=9))
    for _ in range(3):
        game.now += 60
        game.begin("a")
        game.lose("a")
        asked(game, {"found": False})
    assert game["a"].status == "failed"
    assert game["a"].error["class"] == "lost"  # type: ignore[index]
    game.fold()


def test_a_protected_step_is_asked_about_without_its_approval_and_repeated_only_with_it() -> None:
    what = action("a", n=1)
    pay = step("a", "http", needs=("ok",), irreversible=True, protected_by=("ok",), already_done=ASK, retry=THRICE)
    game = Game(plan(approval("ok", protects=["a"]), pay))
    game.ask("ok", what)
    game.approve("ok")
    game.begin("a", digests=shown("ok", what))
    game.lose("a", repeatable=False)
    asked(game, {"found": False})
    game.now += 60
    game.begin("a")
    assert game.refused, "the repeat needs the digest that was approved"
    game.begin("a", digests=shown("ok", what))
    game.lose("a", repeatable=False)
    asked(game, {"found": True, "id": 3})
    assert game["a"].output == 3
    game.fold()


def test_a_cancelled_run_asks_nothing_any_more() -> None:
    game = game_of(already_done=ASK, effect="once")
    game.begin("a")
    game.cancel()
    game.lose("a", repeatable=False)
    assert game["a"].status == "unknown"


@pytest.mark.parametrize(("effect", "status"), [("once", "unknown"), ("idempotent", "cancelled")])
def test_what_was_not_asked_yet_at_the_runs_end_stays_unknown_where_it_must_not_be_repeated(
    effect: Any, status: str
) -> None:
    game = Game(plan(step("a", "http", already_done=ASK, effect=effect), deadline=60.0))
    game.begin("a")
    game.lose("a", repeatable=False)
    assert game["a"].doubt is not None and game["a"].status == "ready"
    game.now += 100.0
    game.give(given.TimerDue("", -1, "deadline"))
    assert (game.state.status, game["a"].status) == ("timed_out", status)
    game.give(given.RetryRequested("o"))
    assert game.refused is (status == "unknown")  # sent once more it might happen twice: a person must say
    game.fold()


def test_items_are_asked_about_one_by_one() -> None:
    game = game_of(already_done=ASK, for_each=ForEach([1, 2]))
    game.begin("a", 1)
    game.lose("a", 1)
    game.done("a", "x", 0)
    asked(game, {"found": True, "id": "y"}, 1)
    assert game["a"].output == ["x", "y"]
    game.fold()
