"""Pause, resume, cancel."""

from __future__ import annotations

import pytest

from flows.definition.plan import Retry, Undo
from runs.engine import inputs as given
from runs.engine.turn import CloseWait, HoldWork, OpenWait, ReleaseWork
from tests.engine.game import ERROR, Game, plan, step


# -- pause, resume, cancel ---------------------------------------------------------------------------------------
def test_while_paused_attempts_end_and_nothing_starts() -> None:
    game = Game(plan(step("a"), step("b", needs=("a",)), step("c")))
    game.begin("a")
    game.pause()
    assert game.state.status == "pausing" and list(game.last.commands) == [HoldWork()]
    game.begin("c")
    assert game.refused
    game.end("a", "done")
    assert (game.state.status, game["b"].status) == ("paused", "ready")
    assert game.told("run.paused") == [{}]
    game.begin("b")
    assert game.refused
    game.resume()
    assert game.state.status == "running" and ReleaseWork() in game.last.commands
    game.begin("b")
    assert not game.refused


def test_a_retry_and_a_lost_attempt_of_a_paused_run_are_held() -> None:
    game = Game(plan(step("a", retry=Retry(jitter="none")), step("b")))
    game.begin("a")
    game.begin("b")
    game.pause()
    game.end("a", "retry", error=ERROR)
    game.lose("b")
    assert (game.statuses("a", "b"), game.state.status) == (["backoff", "ready"], "paused")
    game.begin("b")
    assert game.refused


def test_pause_and_resume_have_their_place() -> None:
    game = Game(plan(step("a")), started=False)
    game.pause()
    assert game.refused  # a queued run
    game.give(given.Started())
    game.resume()
    assert game.refused
    game.pause()
    game.pause()
    assert game.refused
    game.cancel()
    assert game.state.status == "cancelled"
    for verb in (game.pause, game.resume, game.cancel):
        verb()
        assert game.refused


def test_cancel_stops_what_holds_no_worker_and_waits_for_what_does() -> None:
    game = Game(plan(step("a"), step("w"), step("t", retry=Retry(jitter="none")), step("b"), step("z", needs=("a",))))
    game.wait("w", "callback", timeout=60.0)
    game.retry("t")
    game.begin("a")
    game.cancel()
    assert game.state.status == "cancelling"
    assert game.statuses("w", "t", "b") == ["cancelled"] * 3
    assert CloseWait("w", -1, 1, "withdrawn") in game.last.commands
    game.begin("b")
    assert game.refused
    game.cancel()
    assert game.refused
    game.end("a", "done", output=1)
    assert (game.state.status, game["a"].output, game["z"].status) == ("cancelled", 1, "pending")


@pytest.mark.parametrize("outcome", ["retry", "wait"])
def test_an_attempt_of_a_cancelled_run_leads_to_nothing_further(outcome: str) -> None:
    game = Game(plan(step("a")))
    game.begin("a")
    game.cancel()
    game.end("a", outcome, error=ERROR, wait={"kind": "callback", "timeout": 5.0})
    assert game.state.status == "cancelled" and game["a"].status in {"failed", "cancelled"}
    assert not any(isinstance(c, OpenWait) for c in game.last.commands)


def test_a_lost_attempt_of_a_cancelled_run_ends_it() -> None:
    game = Game(plan(step("a")))
    game.begin("a")
    game.cancel()
    game.lose("a")
    assert (game["a"].status, game.state.status) == ("cancelled", "cancelled")


def test_a_paused_run_can_be_cancelled() -> None:
    game = Game(plan(step("a")))
    game.begin("a")
    game.pause()
    game.cancel()
    game.end("a", "done")
    assert game.state.status == "cancelled"


def test_a_queued_run_can_be_cancelled_and_then_never_starts() -> None:
    game = Game(plan(step("a")), started=False)
    game.cancel()
    assert game.state.status == "cancelled"
    game.give(given.Started())
    assert game.refused


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_an_ended_run_takes_no_input(end: str) -> None:
    game = Game(plan(step("a")))
    getattr(game, "done" if end == "succeeded" else "fail")("a")
    assert game.state.status == end
    for verb in (game.pause, game.resume, game.cancel, lambda: game.begin("a"), lambda: game.lose("a", attempt=1)):
        verb()
        assert game.refused


# -- a run that its workers cannot carry on ------------------------------------------------------------------------
def test_a_run_that_is_given_up_fails_at_once_and_says_what_may_have_acted() -> None:
    game = Game(plan(step("a"), step("b", irreversible=True), step("c", "wait"), step("d"), step("e", needs=("d",))))
    game.begin("a")
    game.begin("b")
    game.wait("c")
    game.give(given.GivenUp())
    assert game.statuses("a", "b", "c", "d", "e") == ["cancelled", "unknown", "cancelled", "cancelled", "pending"]
    assert (game.state.status, (game.state.error or {})["class"], game.state.ended_at) == (
        "failed",
        "internal",
        game.now,
    )
    assert [c.reason for c in game.last.commands if isinstance(c, CloseWait)] == ["withdrawn"]
    assert len(game.told("run.failed")) == 1
    game.fold()
    game.end("a", "done")
    assert game.refused


def test_a_run_that_is_given_up_can_be_tried_again_but_what_is_unknown_is_a_persons_to_say() -> None:
    game = Game(plan(step("a"), step("b", irreversible=True)))
    game.begin("a")
    game.give(given.GivenUp())
    game.give(given.RetryRequested("o"))
    game.give(given.Started())
    assert game.statuses("a", "b") == ["ready", "ready"]
    game.begin("b")
    game.give(given.GivenUp())
    game.give(given.RetryRequested("o"))
    assert game.refused
    game.give(given.OutcomeSaid("b", outcome="done", actor="o"))
    game.give(given.Started())
    game.done("a")
    assert game.state.status == "succeeded"
    game.fold()


def test_a_run_that_is_given_up_while_it_is_undone_says_how_far_that_came() -> None:
    undo = Undo("http", {}, retry=Retry(max_attempts=1))
    game = Game(plan(step("a", compensate=undo), step("b", needs=("a",), compensate=undo), step("c", needs=("b",))))
    game.done("a")
    game.done("b")
    game.cancel()
    game.done("b~")
    game.begin("a~")
    game.give(given.GivenUp())
    ending = game.state.ending or {}
    assert (game.state.status, ending["phase"], ending["to"]) == ("failed", "ended", "failed")
    assert [u["step"] for u in ending["undone"]] == ["b"] and [u["step"] for u in ending["not_undone"]] == ["a"]
    game.give(given.RetryRequested("o"))
    assert game.refused
    game.fold()
