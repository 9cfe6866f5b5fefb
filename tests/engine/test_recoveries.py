"""The table of state by control, cell by cell: what the table says is what the core does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.definition.plan import Plan
from runs import recoveries
from runs.engine import inputs as given
from runs.engine.state import NO_ITEM
from runs.models import RunStatus
from runs.recoveries import CONTROLS, REFUSALS, TABLE, refusal
from tests.engine.game import Game, plan, step
from tests.engine.test_decide_compensation import undoable

FLOW = plan(undoable("a"), step("bad"), step("pay", "http", irreversible=True), step("b", needs=("a",)))


def game_of(status: str, flow: Plan = FLOW) -> Game:
    """A run in that state; where it can, with a step that failed, one unknown, and one done."""
    game = Game(flow, started=status != "queued")
    if status == "queued":
        return game
    game.done("a")
    if status == "succeeded":
        for name in ("bad", "pay", "b"):
            game.done(name)
        return game
    game.fail("bad")
    game.begin("pay")
    game.lose("pay", repeatable=False)
    _MORE[status](game)
    assert game.state.status == status
    return game


def _timed_out(game: Game) -> None:
    from dataclasses import replace

    game.fail("b")
    game.state = replace(game.state, status="timed_out")


def _all(*names: str) -> Callable[[Game], None]:
    def act(game: Game) -> None:
        for name in names:
            verb, _, of = name.partition(":")
            getattr(game, verb)(of) if of else getattr(game, verb)()

    return act


_MORE: dict[str, Callable[[Game], object]] = {
    "running": _all(),
    "waiting": _all("wait:b"),
    "pausing": _all("begin:b", "pause"),
    "paused": _all("pause"),
    "cancelling": _all("begin:b", "cancel"),
    "compensating": _all("cancel"),
    "failed": _all("fail:b"),
    "cancelled": lambda game: game.give(given.TerminateRequested("o")),
    "timed_out": _timed_out,
}

EVENTS: dict[str, Any] = {
    "pause": given.PauseRequested("o"),
    "resume": given.Resumed("o"),
    "cancel": given.CancelRequested("o"),
    "terminate": given.TerminateRequested("o"),
    "retry": given.RetryRequested("o"),
    "retry_from": given.RetryFromRequested("a", "o"),
    "skip": given.SkipRequested("bad", NO_ITEM, "o"),
    "complete": given.CompleteRequested("bad", NO_ITEM, 1, "o"),
    "outcome": given.OutcomeSaid("pay", NO_ITEM, "done", None, "o"),
}
STEP = {"retry_from": "a", "skip": "bad", "complete": "bad", "outcome": "pay", "fork": "a"}


@pytest.mark.parametrize("status", RunStatus.values)
@pytest.mark.parametrize("control", CONTROLS)
def test_every_state_takes_or_refuses_every_control_as_the_table_says(status: str, control: str) -> None:
    game = game_of(status)
    if status in ("failed", "timed_out") and control in ("retry", "retry_from"):
        assert refusal(game.plan, game.state, control, STEP.get(control, "")) == "outcome_unknown"
        game.give(EVENTS[control])
        assert game.refused
        game.give(given.OutcomeSaid("pay", NO_ITEM, "not_done"))
    code = refusal(game.plan, game.state, control, STEP.get(control, ""))
    assert code == TABLE[control].get(status, "")
    assert not code or REFUSALS[code]
    if control in EVENTS:
        game.give(EVENTS[control])
        assert game.refused is bool(code)


def test_the_table_knows_every_state_and_says_only_what_it_can_explain() -> None:
    assert set(TABLE) == set(CONTROLS)
    for cells in TABLE.values():
        assert set(cells) <= set(RunStatus.values) and set(cells.values()) <= set(REFUSALS)
    assert all(said.endswith(".") and len(said) > 30 for said in REFUSALS.values())


def test_a_dead_run_lists_what_can_be_done_and_what_follows() -> None:
    game = game_of("failed", plan(*FLOW.steps, step("z", "http", needs=("bad",))))
    found = recoveries.recoveries(game.plan, game.state)
    by = {(r.control, r.step): r for r in found}
    assert by["retry", ""].refusal == "outcome_unknown"
    assert by["outcome", "pay"].allowed and ("outcome", "bad") not in by
    assert by["skip", "bad"].allowed and by["complete", "pay"].allowed and ("skip", "pay") not in by
    assert by["replay", ""].consequences.may_repeat == ("a", "pay")
    assert by["fork", "bad"].consequences.kept == ("a",)
    game.give(given.OutcomeSaid("pay", NO_ITEM, "not_done"))
    by = {(r.control, r.step): r for r in recoveries.recoveries(game.plan, game.state)}
    assert by["retry", ""].consequences.again == ("bad", "pay", "b")
    assert by["retry_from", "bad"].consequences.again == ("bad", "z")
    assert by["outcome", ""].refusal == "no_unknown_outcome"


def test_where_only_an_outcome_is_unknown_that_comes_first_and_nothing_says_that_no_step_failed() -> None:
    game = Game(plan(step("pay", "http", irreversible=True)))
    game.begin("pay")
    game.lose("pay", repeatable=False)
    assert game.state.status == "failed"
    found = recoveries.recoveries(game.plan, game.state)
    assert (found[0].control, found[0].step, found[0].allowed) == ("outcome", "pay", True)
    assert {r.control: r.refusal for r in found}["skip"] == "outcome_unknown"


def test_a_run_that_was_undone_can_only_be_replayed() -> None:
    flow = plan(undoable("a"), step("b", needs=("a",)), compensate_on=("failure",))
    game = Game(flow)
    game.done("a")
    game.fail("b")
    game.done("a~")
    found = {r.control: r.refusal for r in recoveries.recoveries(game.plan, game.state)}
    assert found.pop("replay") == "" and set(found.values()) == {"compensated"}


@pytest.mark.parametrize(
    ("control", "of", "code"),
    [
        ("skip", "ghost", "no_such_step"), ("skip", "a", "not_failed"), ("skip", "pay", "outcome_unknown"),
        ("fork", "b", "not_reached"), ("skip", "h", "handler_step"), ("outcome", "bad", "not_failed"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_take_it_says_why(control: str, of: str, code: str) -> None:
    flow = plan(*FLOW.steps[:3], step("b", needs=("x",)), step("x"), step("h", handler=True))
    game = Game(flow)
    game.done("a")
    game.fail("bad")
    game.begin("pay")
    game.lose("pay", repeatable=False)
    game.begin("x")
    game.give(given.TerminateRequested("o")) if control == "fork" else None
    assert refusal(flow, game.state, control, of) == code
