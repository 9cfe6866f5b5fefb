"""Contracts: what a step requires is asked before an attempt, what it promises before anything gets its output."""

from __future__ import annotations

from typing import Any

import pytest

from flows.definition.plan import Check, Fallback, ForEach, Retry
from runs.engine import inputs as given
from tests.engine.game import Game, plan, step

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
NEEDS = Check("${{ input.n > 0 }}", "n must be positive")
GIVES = Check("${{ steps.a.output.n < 10 }}")


def game_of(input: Any = None, **rest: Any) -> Game:
    return Game(plan(step("a", **rest), step("b", needs=("a",))), input={"n": 1} if input is None else input)


def details(game: Game) -> Any:
    error = game["a"].error
    assert error is not None and error["class"] == "contract"
    return error["details"]


def test_what_a_step_requires_is_asked_before_its_attempt() -> None:
    game = game_of({"n": 0}, requires=(NEEDS,))
    assert game.begin("a").accepted
    assert (game["a"].status, game["a"].attempt) == ("failed", 0), "no attempt was made"
    assert details(game) == {"contract": "requires", "expression": NEEDS.condition}
    assert "n must be positive" in game["a"].error["message"]  # type: ignore[index]
    assert game["b"].status == "skipped"
    assert game.state.status == "failed"
    game.fold()


def test_a_step_whose_requirements_hold_runs() -> None:
    game = game_of(requires=(NEEDS,), ensures=(GIVES,), output_schema=SCHEMA)
    game.done("a", {"n": 9})
    game.done("b")
    assert game.state.status == "succeeded"


@pytest.mark.parametrize(
    ("output", "kind"), [({"n": 10}, "ensures"), ({"n": "9"}, "output"), (None, "output"), ({}, "output")]
)
def test_an_output_that_breaks_the_contract_stops_before_anything_downstream(output: Any, kind: str) -> None:
    game = game_of(ensures=(GIVES,), output_schema=SCHEMA)
    game.done("a", output)
    assert game["a"].status == "failed"
    assert details(game)["contract"] == kind
    assert game["a"].output is None
    assert game["b"].status == "skipped"
    game.fold()


def test_the_places_that_break_the_schema_are_named() -> None:
    game = game_of(output_schema=SCHEMA)
    game.done("a", {"n": "nine"})
    assert [p["path"] for p in details(game)["problems"]] == [["n"]]


def test_a_check_that_has_no_value_does_not_hold() -> None:
    game = game_of(ensures=(Check("${{ steps.a.output.missing == 1 }}"),))
    game.done("a", {"n": 1})
    assert details(game)["contract"] == "ensures"


def test_a_breach_is_tried_again_only_where_the_flow_says_so() -> None:
    game = game_of(ensures=(GIVES,), retry=Retry(max_attempts=3))
    game.done("a", {"n": 10})
    assert (game["a"].status, game["a"].attempt) == ("failed", 1)
    game = game_of(ensures=(GIVES,), retry=Retry(max_attempts=3, on=("contract",), jitter="none"))
    game.done("a", {"n": 10})
    assert game["a"].status == "backoff"
    game.now += 10
    game.done("a", {"n": 1})
    assert game["a"].status == "succeeded"
    game.fold()


def test_a_breach_of_what_may_not_be_repeated_is_not_tried_again() -> None:
    retry = Retry(max_attempts=3, on=("contract",))
    game = game_of(ensures=(GIVES,), retry=retry, effect="once")
    game.done("a", {"n": 10})
    assert game["a"].status == "failed"


def test_a_fallback_stands_in_for_a_breach_and_keeps_the_contract_itself() -> None:
    for value, status in (({"n": 2}, "succeeded"), ({"n": 11}, "failed")):
        game = game_of(ensures=(GIVES,), fallback=Fallback(value=value))
        game.done("a", {"n": 10})
        assert game["a"].status == status
        assert game.state.degraded is (status == "succeeded")
        game.fold()


def test_an_answer_that_breaks_the_contract_fails_the_wait() -> None:
    game = Game(plan(step("a", "wait", output_schema=SCHEMA), step("b", needs=("a",))))
    game.wait("a")
    game.answer("a", {"n": "x"})
    assert game.statuses("a", "b") == ["failed", "skipped"]
    assert details(game)["contract"] == "output"


def test_each_item_of_a_fan_out_is_held_to_the_contract() -> None:
    each = ForEach([1, 2], on_item_error="continue")
    check = Check("${{ steps.a.output.n == item }}")
    game = Game(plan(step("a", for_each=each, ensures=(check,), requires=(Check("${{ item > 1 }}"),))))
    game.begin("a", 0)
    assert game["a", 0].error["details"]["contract"] == "requires"  # type: ignore[index]
    game.done("a", {"n": 2}, 1)
    assert game["a"].output == [None, {"n": 2}]
    game.fold()


def test_what_the_shell_found_on_a_large_output_counts() -> None:
    ref = {"$res": "res://x"}
    for breach in ({"class": "contract", "message": "No."}, None):
        game = game_of(output_schema=SCHEMA)
        game.begin("a")
        game.give(given.AttemptEnded("a", -1, 1, "done", output=ref, checked=True, breach=breach))
        assert game["a"].status == ("failed" if breach else "succeeded")
        game.fold()
