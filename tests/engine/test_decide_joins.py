"""Joins of any, all, N: who opens when, and what becomes of those nobody waits for any more."""

from __future__ import annotations

from typing import Any

from flows.definition.plan import ForEach, Plan, Retry, Undo
from runs.engine.turn import CloseWait
from tests.engine.game import ERROR, Game, plan, step


def joined(join: int | None, *extra: Any, **a: Any) -> Plan:
    racers = [step("a", **a), step("b", "wait"), step("c")]
    return plan(*racers, step("j", needs=("a", "b", "c"), join=join), *extra)


def test_any_opens_with_the_first_success_and_withdraws_the_others() -> None:
    game = Game(joined(1))
    game.wait("b")
    game.begin("c")
    decision = game.done("a", 1)
    assert game.statuses("j", "b") == ["ready", "cancelled"]
    assert game["b"].reason == "join"
    assert CloseWait("b", -1, 1, "withdrawn") in decision.commands
    assert game["c"].status == "running", "an attempt in flight is asked to stop and let end"
    assert game.told("step.stop_requested") == [{"reason": "join"}]
    game.end("c", "done", output="late")
    assert (game["c"].status, game["c"].output) == ("cancelled", None)
    assert game.told("step.discarded")[0]["output"] == "late", "its result is recorded and changes nothing"
    game.done("j")
    assert game.state.status == "succeeded"
    game.fold()


def test_two_of_three_open_with_the_second_success() -> None:
    game = Game(joined(2))
    game.done("a")
    assert game["j"].status == "pending"
    game.done("c")
    assert game.statuses("j", "b") == ["ready", "cancelled"]
    game.fold()


def test_a_failure_does_not_fail_the_run_that_went_on_without_it() -> None:
    game = Game(joined(1))
    game.fail("a")
    assert game["j"].status == "pending"
    game.done("c")
    game.done("j")
    assert (game["a"].status, game.state.status) == ("failed", "succeeded")
    game.fold()


def test_a_join_that_can_no_longer_be_met_is_skipped_and_the_run_fails() -> None:
    game = Game(joined(2))
    game.fail("a")
    game.fail("c")
    assert (game["j"].status, game["j"].reason) == ("skipped", "needs")
    assert game["b"].status == "ready", "nobody won: what is under way goes on"
    game.wait("b")
    game.answer("b")
    assert game.state.status == "failed"


def test_a_step_skipped_by_its_own_if_is_no_success_to_a_join() -> None:
    game = Game(plan(step("a", condition=False), step("b"), step("j", needs=("a", "b"), join=1)))
    assert game.statuses("a", "j") == ["skipped", "pending"]
    game.fail("b")
    assert game["j"].reason == "needs"


def test_what_others_need_does_not_lose() -> None:
    game = Game(joined(1, step("other", needs=("b",))))
    game.done("a")
    assert game.statuses("j", "b", "c") == ["ready", "ready", "cancelled"]
    game.wait("b")
    game.answer("b")
    assert game["other"].status == "ready"


def test_what_leads_only_to_a_loser_loses_too() -> None:
    chain = plan(step("a"), step("b1"), step("b2", needs=("b1",)), step("j", needs=("a", "b2"), join=1))
    game = Game(chain)
    game.done("a")
    assert game.statuses("b1", "b2", "j") == ["cancelled", "cancelled", "ready"]


def test_one_that_only_a_step_which_cannot_run_needs_loses() -> None:
    extra = (step("f"), step("dead", needs=("b", "f")))
    game = Game(joined(1, *extra))
    game.fail("f")
    game.done("a")
    assert game.statuses("b", "dead") == ["cancelled", "skipped"]


def test_an_attempt_that_may_not_be_forgotten_keeps_its_result() -> None:
    for kept in ({"irreversible": True}, {"compensate": Undo("http", {})}, {"effect": "once"}):
        game = Game(joined(1, **kept))
        game.begin("a")
        game.done("c")
        assert (game["a"].status, game["a"].reason) == ("running", "")
        game.end("a", "done", output=1)
        assert (game["a"].status, game["a"].output) == ("succeeded", 1)
        game.done("j")
        assert game.state.status == "succeeded"
        game.fold()


def test_one_that_may_not_be_forgotten_and_would_be_tried_again_is_withdrawn_between_attempts() -> None:
    game = Game(joined(1, irreversible=True, retry=Retry(max_attempts=3)))
    game.begin("a")
    game.done("c")
    game.end("a", "retry", error=ERROR, acted=False)
    assert (game["a"].status, game["a"].reason) == ("cancelled", "join")


def test_a_losing_fan_out_stops_opening_items_and_ends_when_the_last_is_back() -> None:
    each = ForEach([1, 2, 3], max_parallel=1)
    game = Game(plan(step("a"), step("b", for_each=each), step("j", needs=("a", "b"), join=1)))
    game.begin("b", 0)
    game.done("a")
    assert game["b"].status == "fanned"
    game.end("b", "done", 0, output=1)
    assert game.statuses("b") == ["cancelled"]
    assert game["b", 1].attempt == 0
    game.done("j")
    assert game.state.status == "succeeded"
    game.fold()


def test_a_lost_attempt_of_a_loser_is_not_made_again() -> None:
    game = Game(joined(1))
    game.begin("c")
    game.done("a")
    game.lose("c")
    assert game["c"].status == "cancelled"
    game.fold()
