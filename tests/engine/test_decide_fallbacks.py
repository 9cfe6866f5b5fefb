"""Fallbacks by error class, the last good output, and steps that run after certain failures."""

from __future__ import annotations

from typing import Any

import pytest

from flows.definition.plan import Fallback
from runs.engine import inputs as given
from tests.engine.game import ERROR, Game, plan, step

LAST = Fallback(last_good=True)


@pytest.mark.parametrize(("on", "status"), [((), "succeeded"), (("http_5xx",), "succeeded"), (("timeout",), "failed")])
def test_a_fallback_stands_in_for_the_classes_it_names(on: tuple[str, ...], status: str) -> None:
    game = Game(plan(step("a", fallback=Fallback(value=1, on=on))))
    game.fail("a")
    assert game["a"].status == status
    assert game.state.degraded is (status == "succeeded")
    game.fold()


@pytest.mark.parametrize(("classes", "status"), [(("http_5xx", "timeout"), "ready"), (("timeout",), "skipped")])
def test_a_step_may_run_after_certain_failures_only(classes: tuple[str, ...], status: str) -> None:
    tell = step("tell", needs=("a",), when="failure", failure_of=classes)
    game = Game(plan(step("a"), tell))
    game.fail("a")
    assert game["tell"].status == status
    game.fold()


def test_the_class_is_seen_through_steps_that_were_skipped_for_it() -> None:
    tell = step("tell", needs=("b",), when="failure", failure_of=("http_5xx",))
    game = Game(plan(step("a"), step("b", needs=("a",)), tell))
    game.fail("a")
    assert (game["b"].status, game["tell"].status) == ("skipped", "ready")


def test_the_last_good_output_is_marked_as_stale() -> None:
    game = Game(plan(step("a", fallback=LAST), step("b", needs=("a",)), output="${{ [steps.a.stale, steps.a.age] }}"))
    game.fail("a")
    assert (game["a"].status, game["a"].fallback) == ("ready", True)
    game.begin("a")
    stale = {"run": "R0", "at": 1.0, "age": 999.0}
    game.give(given.AttemptEnded("a", -1, 2, "done", output="old", stale=stale))
    assert (game["a"].status, game["a"].output, game["a"].stale) == ("succeeded", "old", stale)
    assert game["a"].error == ERROR, "what it stands in for stays on record"
    game.done("b")
    assert (game.state.output, game.state.degraded) == ([True, 999.0], True)
    game.fold()


def test_without_a_good_output_the_step_fails_with_its_own_error() -> None:
    game = Game(plan(step("a", fallback=LAST)))
    game.fail("a")
    game.fail("a", error={**ERROR, "message": "It broke. There is no good output of an earlier run."})
    assert (game["a"].status, game.state.status) == ("failed", "failed")
    assert game["a"].error["class"] == "http_5xx"  # type: ignore[index]


def test_a_fresh_output_is_not_stale() -> None:
    game = Game(plan(step("a", fallback=LAST), output="${{ steps.a.stale }}"))
    game.done("a", 1)
    assert game.state.output is False


def test_reading_the_last_good_output_may_be_lost_and_read_again_whatever_the_step_is() -> None:
    game = Game(plan(step("a", fallback=LAST, effect="once")))
    game.fail("a")
    game.begin("a")
    game.lose("a", repeatable=False)
    assert game["a"].status == "ready"


def test_large_outputs_of_the_core_are_told_to_it_so_that_the_history_gives_the_same_state() -> None:
    game = Game(plan(step("a"), output={"n": 1}))
    game.done("a", 1)
    ref: dict[str, Any] = {"$res": "res://x"}
    game.give(given.OutputKept("a", -1, ref))
    game.give(given.OutputKept("", -1, ref))
    assert (game["a"].output, game.state.output) == (ref, ref)
    game.fold()
