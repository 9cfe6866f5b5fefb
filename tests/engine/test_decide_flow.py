"""Which step opens, is skipped or joined: needs, when, if, for_each, output."""

from __future__ import annotations

import pytest

from flows.definition.plan import Fallback, ForEach, Retry
from runs.engine.fanout import WINDOW
from runs.engine.turn import Dequeue, Enqueue, RunEnded
from tests.engine.game import ERROR, Game, plan, step


def test_steps_without_needs_open_at_the_start_and_others_wait_for_theirs() -> None:
    game = Game(plan(step("a"), step("b"), step("c", needs=("a", "b"))))
    assert game.statuses("a", "b", "c") == ["ready", "ready", "pending"]
    assert game.last.commands == (Enqueue("a", -1, 1000.0), Enqueue("b", -1, 1000.0))
    game.done("a")
    assert game["c"].status == "pending"
    game.done("b")
    assert game["c"].status == "ready"


def test_the_run_succeeds_with_its_output_when_every_step_has_settled() -> None:
    game = Game(plan(step("a"), output={"is": "${{ steps.a.output.n + 1 }}"}))
    game.done("a", {"n": 1})
    assert (game.state.status, game.state.output, game.state.ended_at) == ("succeeded", {"is": 2}, 1000.0)
    assert game.last.commands[-1] == RunEnded()
    assert game.told("run.succeeded") == [{"output": {"is": 2}}]


def test_an_output_that_cannot_be_worked_out_fails_the_run() -> None:
    game = Game(plan(step("a"), output="${{ steps.a.output.nothing }}"))
    game.done("a", {})
    assert game.state.status == "failed" and game.state.error is not None
    assert game.state.error["class"] == "expression"


def test_a_run_begins_once() -> None:
    game = Game(plan(step("a")))
    from runs.engine.inputs import Started

    game.give(Started())
    assert game.refused


@pytest.mark.parametrize(
    ("when", "first", "then", "reason"),
    [
        ("success", "done", "ready", ""),
        ("success", "fail", "skipped", "needs"),
        ("failure", "done", "skipped", "when"),
        ("failure", "fail", "ready", ""),
        ("always", "done", "ready", ""),
        ("always", "fail", "ready", ""),
    ],
)
def test_when_says_after_what_a_step_runs(when: str, first: str, then: str, reason: str) -> None:
    game = Game(plan(step("a"), step("b", needs=("a",), when=when)))
    getattr(game, first)("a")
    assert (game["b"].status, game["b"].reason) == (then, reason)


@pytest.mark.parametrize(
    ("reason", "dependent"),
    [("if", "ready"), ("when", "ready"), ("needs", "skipped"), ("approval", "skipped")],
)
def test_only_a_step_skipped_by_its_own_condition_satisfies_needs(reason: str, dependent: str) -> None:
    first = {
        "if": step("b", needs=("a",), condition=False),
        "when": step("b", needs=("a",), when="failure"),
        "needs": step("b", needs=("bad",)),
        "approval": step("b", needs=("a",), protected_by=("nobody",)),
    }[reason]
    game = Game(plan(step("a"), step("bad"), step("nobody"), first, step("c", needs=("b",))))
    game.done("nobody")
    game.fail("bad")
    game.done("a")
    assert (game["b"].status, game["b"].reason) == ("skipped", reason)
    assert game["c"].status == dependent


def test_a_step_behind_a_need_that_failed_runs_for_failure_further_down() -> None:
    game = Game(plan(step("a"), step("b", needs=("a",)), step("c", needs=("b",), when="failure")))
    game.fail("a")
    assert game.statuses("b", "c") == ["skipped", "ready"]


def test_if_reads_earlier_outputs_and_a_broken_if_fails_the_step() -> None:
    game = Game(
        plan(
            step("a"),
            step("yes", needs=("a",), condition="${{ steps.a.output.go }}"),
            step("no", needs=("a",), condition="${{ !steps.a.output.go }}"),
            step("broken", needs=("a",), condition="${{ steps.a.output.missing }}"),
        )
    )
    game.done("a", {"go": True})
    assert game.statuses("yes", "no", "broken") == ["ready", "skipped", "failed"]
    assert game["broken"].error is not None and game["broken"].error["class"] == "expression"


def test_a_failed_step_fails_the_run_only_after_the_others_have_ended() -> None:
    game = Game(plan(step("a"), step("b")))
    game.fail("a")
    assert game.state.status == "running"
    game.done("b")
    assert game.state.status == "failed"
    assert game.state.error == {**ERROR, "step": "a"}


# -- for_each --------------------------------------------------------------------------------------------------
def fan(**rest: object) -> Game:
    each = ForEach(items="${{ input }}", **rest)  # type: ignore[arg-type]
    return Game(plan(step("f", for_each=each), step("z", needs=("f",))), input=["x", "y", "z"])


def test_a_fan_out_opens_its_items_and_joins_their_outputs_in_order() -> None:
    game = fan()
    assert game["f"].status == "fanned" and [game["f", i].status for i in range(3)] == ["ready"] * 3
    for i in (2, 0, 1):
        game.done("f", i * 10, item=i)
    assert (game["f"].status, game["f"].output, game["z"].status) == ("succeeded", [0, 10, 20], "ready")


def test_an_empty_fan_out_joins_at_once() -> None:
    game = Game(plan(step("f", for_each=ForEach([])), step("z", needs=("f",))))
    assert (game["f"].status, game["f"].output, game["z"].status) == ("succeeded", [], "ready")


@pytest.mark.parametrize("items", ["${{ 3 }}", "${{ input.nothing }}", "${{ {'a': 1} }}"])
def test_a_fan_out_over_what_is_no_list_fails(items: str) -> None:
    game = Game(plan(step("f", for_each=ForEach(items))), input={})
    assert game["f"].status == "failed" and game["f"].error is not None
    assert game["f"].error["class"] == "expression"


def test_a_fan_out_over_too_much_fails() -> None:
    game = Game(plan(step("f", for_each=ForEach("${{ input }}"))), input=[0] * 10_001)
    assert game["f"].error is not None and game["f"].error["class"] == "limit"


def test_max_parallel_opens_an_item_for_each_that_settles() -> None:
    game = fan(max_parallel=2)
    assert [game["f", i].status for i in range(3)] == ["ready", "ready", "pending"]
    game.begin("f", 0)
    game.begin("f", 1)
    assert game["f", 2].status == "pending"
    game.end("f", "done", 1)
    assert game["f", 2].status == "ready"


def test_on_item_error_continue_leaves_a_gap() -> None:
    game = fan(on_item_error="continue")
    game.fail("f", 1)
    game.done("f", "a", 0)
    game.done("f", "c", 2)
    assert (game["f"].status, game["f"].output) == ("succeeded", ["a", None, "c"])


def test_on_item_error_fail_stops_what_has_not_begun_and_waits_for_what_has() -> None:
    game = fan()
    game.begin("f", 0)
    game.fail("f", 1)
    assert [game["f", i].status for i in range(3)] == ["running", "failed", "cancelled"]
    assert Dequeue("f", 2) in game.last.commands
    assert game["f"].status == "fanned"
    game.end("f", "done", 0)
    assert game["f"].status == "failed" and game["f"].error == {**ERROR, "item": 1}
    assert game["z"].status == "skipped"


def test_a_waiting_item_is_withdrawn_when_another_fails() -> None:
    game = fan()
    game.wait("f", "callback", 0)
    game.fail("f", 1)
    assert [c.reason for c in game.last.commands if hasattr(c, "reason")] == ["withdrawn"]
    assert game["f"].status == "failed"


def test_an_item_of_unknown_outcome_fails_its_fan_out_even_where_errors_are_passed_over() -> None:
    each = ForEach([1, 2], on_item_error="continue")
    game = Game(plan(step("f", for_each=each, irreversible=True)))
    game.begin("f", 0)
    game.lose("f", 0, repeatable=False)
    game.done("f", item=1)
    assert game["f", 0].status == "unknown"
    assert (game["f"].status, game.state.status) == ("failed", "failed")


def test_each_item_has_its_fallback_and_the_whole_has_none() -> None:
    each, last = ForEach([1]), Fallback(family="function", config={})
    game = Game(plan(step("f", for_each=each, fallback=last, retry=Retry(max_attempts=1))))
    game.fail("f", 0)
    assert (game["f", 0].status, game["f", 0].fallback) == ("ready", True)
    game.fail("f", 0)
    assert (game["f", 0].status, game["f"].status, game["f"].fallback) == ("failed", "failed", False)


def test_a_wide_fan_out_queues_a_window_of_its_items_so_that_other_runs_get_their_turn() -> None:
    game = Game(plan(step("f", for_each=ForEach("${{ input }}"))), input=list(range(1000)))
    assert game["f"].opened == WINDOW
    game.done("f", 1, item=3)
    assert game["f"].opened == WINDOW + 1 and game["f", WINDOW].status == "ready"


def test_items_that_wait_take_no_room_of_the_window() -> None:
    game = Game(plan(step("f", for_each=ForEach("${{ input }}"))), input=list(range(WINDOW + 1)))
    game.begin("f", 0)
    game.end("f", "wait", 0, wait={"kind": "timer"})
    assert game["f", 0].status == "waiting" and game["f", WINDOW].status == "ready"
