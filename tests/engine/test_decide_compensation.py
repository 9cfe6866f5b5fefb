"""Undoing: what, in which order, and what a run comes to when something cannot be undone."""

from __future__ import annotations

from typing import Any

from flows.definition.plan import ForEach, Retry, StepPlan, Undo
from runs.engine import inputs as given
from runs.engine.state import idempotency_key
from tests.engine.game import ERROR, Game, plan, step

UNDO = Undo("http", {"path": "/undo"}, retry=Retry(max_attempts=2, initial=0.0, jitter="none"))


def undoable(id_: str, **rest: Any) -> StepPlan:
    return step(id_, "http", compensate=UNDO, **rest)


def test_a_cancelled_run_is_undone_backwards_one_step_at_a_time() -> None:
    game = Game(plan(undoable("a"), undoable("b"), undoable("c", needs=("a", "b")), step("d", needs=("c",))))
    game.done("b", {"id": 1})
    game.done("a")
    game.done("c")
    game.cancel()
    assert game.state.status == "compensating" and game["d"].status == "cancelled"
    assert game.told("run.compensating") == [{"steps": 3}]
    for undo, later in (("c~", ("a~", "b~")), ("a~", ("b~",)), ("b~", ())):
        assert game[undo].status == "ready" and all(game[x].status == "pending" for x in later)
        game.done(undo)
    assert game.state.status == "cancelled" and game.state.ending is not None
    assert [u["step"] for u in game.state.ending["undone"]] == ["c", "a", "b"]
    assert idempotency_key("R", game["b~"]) == "R:b:1:undo"


def test_undoing_waits_for_what_is_in_flight_and_covers_it() -> None:
    game = Game(plan(undoable("a"), undoable("b")))
    game.done("a")
    game.begin("b")
    game.cancel()
    assert (game.state.status, game["a~"].status) == ("cancelling", "pending")
    game.cancel()
    assert game.refused
    game.end("b", "done", output=1)
    assert (game.state.status, game.statuses("b~", "a~")) == ("compensating", ["ready", "pending"])
    game.cancel()
    assert game.refused


def test_what_may_have_acted_is_undone_too_and_what_did_not_is_not() -> None:
    game = Game(plan(undoable("lost"), undoable("slow", retry=Retry(max_attempts=1)), undoable("never"), step("x")))
    game.begin("lost")
    game.retry("slow", acted=True)
    game.begin("x")
    game.cancel()
    game.lose("lost")
    game.end("x", "done")
    assert game["slow"].status == "failed" and game["lost"].status == "cancelled"
    undone = []
    while not game.state.ended:
        undone.append(next(s.id for s in game.state.steps.values() if s.status == "ready"))
        game.done(undone[-1])
    assert undone == ["lost~", "slow~"]


def test_the_unknown_are_undone_when_a_failure_undoes() -> None:
    flow = plan(undoable("pay", irreversible=True), undoable("book"), compensate_on=("failure",))
    game = Game(flow)
    game.done("book")
    game.begin("pay")
    game.lose("pay", repeatable=False)
    assert (game["pay"].status, game.state.status) == ("unknown", "compensating")
    game.done("pay~")
    game.done("book~")
    assert game.state.status == "failed" and (game.state.error or {})["class"] == "unknown_outcome"


def test_a_failure_undoes_nothing_where_the_flow_does_not_say_so() -> None:
    game = Game(plan(undoable("a"), step("b", needs=("a",))))
    game.done("a")
    game.fail("b")
    assert (game.state.status, game["a~"].status, game.state.ending) == ("failed", "pending", None)


def test_one_that_cannot_be_undone_does_not_stop_the_others_and_is_named() -> None:
    game = Game(plan(undoable("a"), undoable("b", needs=("a",)), step("c", needs=("b",))))
    game.done("a")
    game.done("b")
    game.cancel()
    game.retry("b~")
    assert game["b~"].status == "backoff"  # its own retries, although the run is ending
    game.retry("b~")
    assert game["b~"].status == "failed" and game["a~"].status == "ready"
    game.done("a~")
    error = game.state.error or {}
    assert (game.state.status, error["class"]) == ("failed", "compensation")
    assert error["details"] == {
        "undone": [{"step": "a", "item": None}],
        "not_undone": [{"step": "b", "item": None, "error": ERROR}],
        "because": {"class": "cancelled", "message": "enough"},
    }
    assert game.told("run.failed") == [{"error": error}]


def test_items_of_a_fan_out_are_undone_each_and_keep_what_they_were_over() -> None:
    flow = plan(undoable("f", for_each=ForEach(items=["x", "y"])), step("z", needs=("f",)))
    game = Game(flow)
    game.done("f", item=1)
    game.done("f", item=0)
    assert game["f"].status == "succeeded" and game["f"].items == ("x", "y")
    game.cancel()
    assert game["f~", 0].status == "ready" and game["f~", 1].status == "pending"
    assert idempotency_key("R", game["f~", 0]) == "R:f:0:1:undo"
    game.done("f~", item=0)
    game.done("f~", item=1)
    assert game.state.status == "cancelled" and game["f~"].status == "pending"


def test_undoing_can_be_paused_and_terminated() -> None:
    game = Game(plan(undoable("a"), undoable("b", needs=("a",)), step("c", needs=("b",))))
    game.done("a")
    game.done("b")
    game.cancel()
    game.begin("b~")
    game.pause()
    assert game.state.status == "pausing"
    game.end("b~", "done")
    assert (game.state.status, game["a~"].status) == ("paused", "ready")
    game.begin("a~")
    assert game.refused
    game.resume()
    assert game.state.status == "compensating"
    game.begin("a~")
    game.give(given.TerminateRequested("olga", "stop it"))
    ending = game.state.ending or {}
    assert game.state.status == "cancelled" and ending["terminated"]
    assert ending["undone"] == [{"step": "b", "item": None}]
    assert ending["not_undone"] == [{"step": "a", "item": None}]
    assert ending["in_flight"] == [{"step": "a~", "item": None, "attempt": 1}]
    game.end("a~", "done")
    assert game.refused


def test_a_terminated_run_ends_at_once_and_says_what_may_have_acted() -> None:
    game = Game(plan(undoable("a"), step("b"), step("w")))
    game.done("a")
    game.begin("b")
    game.wait("w")
    game.give(given.TerminateRequested("olga", "now"))
    ending = game.state.ending or {}
    assert game.state.status == "cancelled" and game.statuses("b", "w", "a~") == ["cancelled", "cancelled", "pending"]
    assert ending["in_flight"] == [{"step": "b", "item": None, "attempt": 1}]
    assert ending["not_undone"] == [{"step": "a", "item": None}]
    game.end("b", "done", output="late")
    assert game.refused and game["b"].output is None


def test_cancelling_a_paused_run_undoes_at_once() -> None:
    game = Game(plan(undoable("a"), step("b", needs=("a",))))
    game.done("a")
    game.pause()
    game.cancel()
    assert (game.state.status, game.state.paused, game["a~"].status) == ("compensating", None, "ready")
    game.done("a~")
    assert game.state.status == "cancelled"


def test_named_steps_run_in_order_before_the_end() -> None:
    from runs.engine import ending
    from runs.engine.advance import advance
    from runs.engine.turn import Turn

    flow = plan(undoable("a"), step("b", needs=("a",)), step("h1", handler=True), step("h2", handler=True))
    game = Game(plan(undoable("a"), step("b", needs=("a",))))
    game.done("a")
    turn = Turn(flow, game.state, game.now)
    ending.begin(turn, to="timed_out", error={"class": "timeout", "message": "Late."}, compensate=True, steps=["h1"])
    advance(turn)
    game.plan, game.state = flow, turn.decision().state
    game.done("a~")
    assert game.statuses("h1", "h2") == ["ready", "pending"] and game.state.status == "compensating"
    game.retry("h1")
    assert game["h1"].status == "backoff"
    game.now += 100
    game.done("h1")
    assert (game.state.status, (game.state.error or {})["class"]) == ("timed_out", "timeout")
