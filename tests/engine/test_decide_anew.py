"""Whether a step runs is decided when what it needs has settled, and anew where that is taken up before it began."""

from __future__ import annotations

from typing import Any

import pytest

from flows.definition.plan import ForEach
from runs.engine import inputs as given
from runs.engine.state import NO_ITEM
from tests.engine.game import Game, action, approval, plan, shown, step

AGAIN = given.OutcomeSaid("pay", NO_ITEM, "again", None, "olga", "looked")


def unknown(cleanup: dict[str, Any]) -> Game:
    """`pay` was lost and may have acted; `other` still runs, and the step `cleanup` has opened."""
    flow = plan(step("pay", irreversible=True), step("other"), step("cleanup", needs=("pay",), **cleanup))
    game = Game(flow)
    game.begin("other")
    game.begin("pay")
    game.lose("pay", repeatable=False)
    assert game["pay"].status == "unknown"
    return game


@pytest.mark.parametrize("when", ["always", "failure"])
def test_a_step_that_has_not_begun_waits_for_what_people_take_up_again(when: str) -> None:
    game = unknown({"when": when})
    assert game["cleanup"].status == "ready"
    game.give(AGAIN)
    assert game.statuses("pay", "cleanup") == ["ready", "pending"]
    game.begin("cleanup")
    assert game.refused
    game.done("pay")
    assert game["cleanup"].status == ("ready" if when == "always" else "skipped")
    game.fold()


def test_a_step_that_has_begun_goes_on_beside_it() -> None:
    game = unknown({"when": "always"})
    game.begin("cleanup")
    game.give(AGAIN)
    assert game.statuses("pay", "cleanup") == ["ready", "running"]
    game.lose("cleanup")
    assert game["cleanup"].status == "ready"
    game.begin("cleanup")
    assert not game.refused
    game.fold()


def test_what_a_failure_called_for_is_skipped_when_people_complete_the_step_first() -> None:
    game = Game(plan(step("a"), step("other"), step("tell", needs=("a",), when="failure"), step("b", needs=("a",))))
    game.begin("other")
    game.fail("a")
    assert game.statuses("tell", "b") == ["ready", "skipped"]
    game.pause()
    game.give(given.CompleteRequested("a", NO_ITEM, {"n": 1}, "olga", "by hand"))
    game.resume()
    assert game.statuses("a", "tell", "b") == ["succeeded", "skipped", "ready"]
    game.fold()


def test_a_fan_out_waits_too_while_none_of_its_items_has_begun() -> None:
    each = {"for_each": ForEach(items=[1, 2], max_parallel=2), "when": "always"}
    game = unknown(dict(each))
    assert [game["cleanup", i].status for i in range(2)] == ["ready", "ready"]
    game.give(AGAIN)
    assert [game["cleanup", i].status for i in (NO_ITEM, 0, 1)] == ["pending"] * 3
    game.done("pay")
    assert [game["cleanup", i].status for i in (NO_ITEM, 0, 1)] == ["fanned", "ready", "ready"]
    game.fold()
    begun = unknown(dict(each))
    begun.begin("cleanup", 1)
    begun.give(AGAIN)
    assert [begun["cleanup", i].status for i in (NO_ITEM, 0, 1)] == ["fanned", "ready", "running"]


def test_what_follows_an_approval_waits_while_it_is_asked_again() -> None:
    ask = approval("ask", protects=["go"])
    flow = plan(ask, step("go", "http", needs=("ask",), protected_by=("ask",)), step("tell", needs=("ask",)))
    game = Game(flow)
    game.ask("ask", action("go"))
    game.approve("ask")
    assert game.statuses("go", "tell") == ["ready", "ready"]
    game.give(given.ActionChanged("go", NO_ITEM, "ask"))
    assert game.statuses("ask", "go", "tell") == ["ready", "pending", "pending"]
    game.ask("ask", action("go", n=2))
    game.approve("ask")
    game.begin("go", digests=shown("ask", action("go", n=2)))
    assert game.statuses("go", "tell") == ["running", "ready"]
    game.fold()
