"""Deadlines, alerts, handler steps, polling: what the core decides when a time is missed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flows.definition.plan import Fallback, ForEach, Handler, Retry, Until
from runs.engine import inputs as given
from runs.engine import timing
from runs.engine.state import idempotency_key
from runs.engine.turn import CloseWait, Dequeue, SetTimer
from tests.engine.fold import fold
from tests.engine.game import ERROR, Game, action, approval, plan, step

SLOW = {"class": "timeout", "message": "Too slow."}
STEPS = Handler("steps", steps=("tidy", "page"))
TIDY, PAGE = step("tidy", handler=True), step("page", handler=True)


def due(game: Game, name: str, id_: str = "", item: int = -1) -> None:
    game.give(given.TimerDue(id_, item, name))


def folds(game: Game) -> None:
    events = [(replace(e, data=json.loads(json.dumps(e.data))), at) for d, at in game.decisions for e in d.events]
    assert fold(game.plan, game.first, events) == game.state


def timers(game: Game) -> list[tuple[str, str, float]]:
    found = [c for d, _ in game.decisions for c in d.commands if isinstance(c, SetTimer)]
    return [(c.step, c.name, c.at) for c in found]


# -- deadlines -----------------------------------------------------------------------------------------------------
def test_a_steps_deadline_counts_from_its_first_attempt_over_retries() -> None:
    game = Game(plan(step("a", deadline=30.0, retry=Retry(max_attempts=9, jitter="none", initial=5.0, factor=1.0))))
    game.now += 100
    game.begin("a")
    game.now += 10
    game.end("a", "retry", error=ERROR)
    game.now += 5
    game.begin("a")
    assert timers(game) == [("a", "deadline", 1130.0)] * 2
    game.end("a", "retry", error=ERROR)
    game.now = 1130.0
    due(game, "deadline", "a")
    assert (game["a"].status, (game["a"].error or {})["class"], game.state.status) == ("failed", "deadline", "failed")
    assert "It broke." in (game["a"].error or {})["message"]
    assert Dequeue("a", -1) in game.last.commands
    folds(game)


def test_no_retry_is_waited_for_that_could_only_come_after_the_deadline() -> None:
    game = Game(plan(step("a", deadline=30.0, retry=Retry(jitter="none", initial=60.0))))
    game.begin("a")
    game.end("a", "retry", error=ERROR)
    assert (game["a"].status, (game["a"].error or {})["class"]) == ("failed", "deadline")


def test_an_attempt_in_flight_is_asked_to_stop_and_decides_how_it_ends() -> None:
    for outcome, status in (("done", "succeeded"), ("retry", "failed")):
        game = Game(plan(step("a", deadline=30.0)))
        game.begin("a")
        game.now += 30
        due(game, "deadline", "a")
        assert (game["a"].status, game["a"].stopping) == ("running", "deadline")
        game.end("a", outcome, error=None if outcome == "done" else SLOW, output=1)
        assert game["a"].status == status
        folds(game)


def test_a_lost_attempt_past_its_deadline_is_not_repeated() -> None:
    game = Game(plan(step("a", deadline=30.0)))
    game.begin("a")
    game.now += 31
    game.give(given.AttemptLost("a", -1, 1))
    assert (game["a"].status, (game["a"].error or {})["class"]) == ("failed", "deadline")


def test_a_wait_ends_at_the_steps_deadline() -> None:
    game = Game(plan(step("w", "wait", deadline=30.0)))
    game.wait("w", "callback", timeout=600.0)
    due(game, "deadline", "w")
    assert CloseWait("w", -1, 1, "expired") in game.last.commands
    assert (game["w"].status, (game["w"].error or {})["class"]) == ("failed", "deadline")


@pytest.mark.parametrize("status", ["succeeded", "pending"])
def test_a_deadline_that_fires_late_has_no_place(status: str) -> None:
    game = Game(plan(step("a", deadline=30.0), step("b", needs=("a",), deadline=1.0)))
    if status == "succeeded":
        game.begin("a")
        game.end("a", "done")
    due(game, "deadline", "a" if status == "succeeded" else "b")
    assert game.refused


def test_an_attempt_never_gets_more_time_than_its_step_and_its_run_have_left() -> None:
    game = Game(plan(step("a", deadline=30.0, timeout=20.0), deadline=40.0))
    game.begin("a")
    left = [timing.attempt_time(game.plan, game.state, game["a"], 20.0, 1000.0 + t) for t in (0, 15, 29.99, 35)]
    assert left == [20.0, 15.0, pytest.approx(0.05), 0.05]
    unbounded = Game(plan(step("a", timeout=20.0), deadline=25.0))
    unbounded.begin("a")
    assert timing.attempt_time(unbounded.plan, unbounded.state, unbounded["a"], 20.0, 1010.0) == 15.0


def test_each_item_of_a_fan_out_has_the_deadline_for_itself() -> None:
    game = Game(plan(step("a", deadline=30.0, for_each=ForEach([1, 2], on_item_error="continue"))))
    game.begin("a", 0)
    game.now += 10
    game.begin("a", 1)
    due(game, "deadline", "a", 0)
    game.end("a", "retry", 0, error=SLOW)
    game.end("a", "done", 1, output=2)
    assert ((game["a", 0].error or {})["class"], game["a"].output) == ("deadline", [None, 2])


# -- what follows --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "error"), [("on_timeout", SLOW), ("on_stall", {"class": "stalled", "message": "No progress."})]
)
def test_a_value_stands_in_for_a_step_out_of_time_and_degrades_the_run(key: str, error: Any) -> None:
    value: Any = Handler("value", value={"why": "${{ steps.a.error.class }}"})
    game = Game(plan(step("a", retry=Retry(max_attempts=1), **{key: value}), step("b", needs=("a",))))
    game.begin("a")
    game.end("a", "retry", error=error)
    assert (game["a"].output, game["b"].status, game.state.degraded) == ({"why": error["class"]}, "ready", True)
    folds(game)


def test_steps_run_one_after_the_other_before_the_step_fails() -> None:
    game = Game(plan(step("a", retry=Retry(max_attempts=1), on_timeout=STEPS), step("b", needs=("a",)), TIDY, PAGE))
    assert game.statuses("tidy", "page") == ["pending", "pending"]
    game.begin("a")
    game.end("a", "retry", error=SLOW)
    assert game.statuses("a", "tidy", "page", "b") == ["handling", "ready", "pending", "pending"]
    game.begin("tidy")
    game.end("tidy", "fail", error=ERROR)
    assert game.statuses("a", "tidy", "page") == ["handling", "failed", "ready"]
    game.begin("page")
    game.end("page", "done", output=1)
    assert game.statuses("a", "b") == ["failed", "skipped"]
    assert (game.state.status, (game.state.error or {})["step"], (game.state.error or {})["class"]) == (
        "failed",
        "a",
        "timeout",
    )
    folds(game)


def test_a_handler_that_fails_fails_nothing_else() -> None:
    game = Game(plan(step("a", sla=5.0, on_sla=Handler("steps", steps=("tidy",))), TIDY))
    game.begin("a")
    due(game, "sla", "a")
    game.begin("tidy")
    game.end("tidy", "fail", error=ERROR)
    game.end("a", "done")
    assert (game["tidy"].status, game.state.status) == ("failed", "succeeded")
    folds(game)


def test_handlers_nobody_called_are_skipped_at_the_end() -> None:
    game = Game(plan(step("a", on_timeout=STEPS), TIDY, PAGE))
    game.begin("a")
    game.end("a", "done")
    assert [(game[i].status, game[i].reason) for i in ("tidy", "page")] == [("skipped", "handler")] * 2
    assert game.state.status == "succeeded"


def test_a_handler_passed_over_at_the_end_runs_as_a_new_pass_when_the_run_is_tried_again() -> None:
    game = Game(plan(step("a", retry=Retry(max_attempts=1), on_timeout=STEPS), TIDY, PAGE))
    game.fail("a")
    assert (game.state.status, game["tidy"].status, game["tidy"].pass_no) == ("failed", "skipped", 1)
    game.give(given.RetryRequested("o"))
    game.give(given.Started())
    game.retry("a", error=SLOW)
    assert (game["tidy"].status, game["tidy"].pass_no) == ("ready", 2)
    game.done("tidy")
    game.done("page")
    assert (game["page"].status, game["page"].pass_no, game.state.status) == ("succeeded", 2, "failed")
    folds(game)


def test_two_steps_may_call_the_same_handler_and_it_runs_once_for_both_at_a_time() -> None:
    one = Handler("steps", steps=("tidy",))
    fails: dict[str, Any] = {"retry": Retry(max_attempts=1), "on_timeout": one}
    game = Game(plan(step("a", **fails), step("b", needs=(), **fails), step("c", **fails), TIDY))
    for name in ("a", "b", "c"):
        game.begin(name)
    game.end("a", "retry", error=SLOW)
    game.end("b", "retry", error=SLOW)
    game.begin("tidy")
    game.end("tidy", "done")
    assert game.statuses("a", "b", "c") == ["failed", "failed", "running"]
    game.end("c", "retry", error=SLOW)  # called again after it ended: once more, as a pass of its own
    assert (game["tidy"].status, game["tidy"].pass_no) == ("ready", 2)
    game.begin("tidy")
    game.end("tidy", "done")
    assert game.state.status == "failed"
    folds(game)


def test_a_cancel_stops_a_step_that_waits_for_its_handlers() -> None:
    game = Game(plan(step("a", retry=Retry(max_attempts=1), on_timeout=STEPS), TIDY, PAGE))
    game.begin("a")
    game.end("a", "retry", error=SLOW)
    game.give(given.CancelRequested("o", "enough"))
    assert (game["a"].status, game.state.status) == ("cancelled", "cancelled")
    folds(game)


def test_fail_means_that_no_fallback_stands_in() -> None:
    rest: dict[str, Any] = {"retry": Retry(max_attempts=1), "fallback": Fallback(value="instead")}
    game = Game(plan(step("a", on_timeout=Handler("fail"), **rest), step("b", **rest)))
    for name in ("a", "b"):
        game.begin(name)
        game.end(name, "retry", error=SLOW)
    assert game.statuses("a", "b") == ["failed", "succeeded"]


def test_after_the_deadline_no_other_action_is_tried() -> None:
    game = Game(plan(step("a", deadline=5.0, fallback=Fallback(family="function", config={}))))
    game.begin("a")
    game.now += 5
    due(game, "deadline", "a")
    game.end("a", "retry", error=SLOW)
    assert game["a"].status == "failed"


# -- alerts --------------------------------------------------------------------------------------------------------
def test_a_missed_sla_is_told_and_changes_nothing() -> None:
    game = Game(plan(step("a", sla=5.0), sla=60.0))
    assert timers(game) == [("", "sla", 1060.0), ("a", "sla", 1005.0)]
    game.begin("a")
    due(game, "sla", "a")
    assert game.told("step.sla_missed")[0]["sla"] == 5.0 and game["a"].late
    due(game, "sla")
    assert game.told("run.sla_missed")[0]["sla"] == 60.0 and game.state.times is not None
    game.end("a", "done")
    assert game.state.status == "succeeded"
    folds(game)


def test_escalation_runs_beside_the_run_which_waits_for_it_at_the_end() -> None:
    game = Game(plan(step("a"), TIDY, PAGE, sla=60.0, on_sla=STEPS))
    game.begin("a")
    due(game, "sla")
    assert game.statuses("a", "tidy", "page") == ["running", "ready", "pending"]
    game.end("a", "done")
    assert game.state.status == "running"
    for name in ("tidy", "page"):
        game.begin(name)
        game.end(name, "done")
    assert game.state.status == "succeeded"
    folds(game)


def test_on_sla_may_end_the_step() -> None:
    game = Game(plan(step("a", sla=5.0, on_sla=Handler("value", value="late"), retry=Retry(jitter="none"))))
    game.begin("a")
    game.end("a", "retry", error=ERROR)
    due(game, "sla", "a")
    assert (game["a"].status, game["a"].output) == ("succeeded", "late")
    folds(game)


# -- the run's deadline --------------------------------------------------------------------------------------------
def test_a_run_past_its_deadline_times_out_once_its_attempts_have_ended() -> None:
    game = Game(plan(step("a"), step("b", needs=()), deadline=60.0))
    assert ("", "deadline", 1060.0) in timers(game)
    game.begin("a")
    due(game, "deadline")
    assert (game.state.status, game["b"].status) == ("cancelling", "cancelled")
    game.end("a", "retry", error={"class": "cancelled", "message": "Stopped."})
    assert (game["a"].status, game.state.status) == ("cancelled", "timed_out")
    assert (game.state.error or {})["class"] == "deadline"
    folds(game)


def test_a_runs_deadline_calls_its_steps_before_the_end() -> None:
    game = Game(plan(step("a"), TIDY, PAGE, deadline=60.0, on_deadline=STEPS))
    due(game, "deadline")
    assert game.statuses("a", "tidy", "page") == ["cancelled", "ready", "pending"]
    for name in ("tidy", "page"):
        game.begin(name)
        game.end(name, "done")
    assert game.state.status == "timed_out"
    folds(game)


def test_a_run_that_is_tried_again_has_its_whole_time_anew() -> None:
    game = Game(plan(step("a"), deadline=60.0, sla=50.0))
    due(game, "deadline")
    assert game.state.status == "timed_out"
    game.now += 3600
    game.give(given.RetryRequested("o", "again"))
    game.give(given.Started())
    game.begin("a")
    assert timers(game)[-2:] == [("", "deadline", game.now + 60), ("", "sla", game.now + 50)]
    assert timing.attempt_time(game.plan, game.state, game["a"], 30.0, game.now) == 30.0
    folds(game)


# -- polling -------------------------------------------------------------------------------------------------------
READY = Until("${{ steps.a.output.ready }}", every=10.0, max_rounds=3)


def poll(game: Game, ready: bool) -> None:
    game.begin("a")
    game.end("a", "done", output={"ready": ready})


def test_each_round_is_a_pass_with_a_key_of_its_own() -> None:
    game = Game(plan(step("a", until=READY), step("b", needs=("a",))))
    keys = []
    for ready in (False, False, True):
        keys.append(idempotency_key("R", game["a"]))
        poll(game, ready)
        game.now += 10
    assert keys == ["R:a:1", "R:a:2", "R:a:3"]
    assert (game["a"].output, game["a"].round_no, game["b"].status) == ({"ready": True}, 2, "ready")
    assert [e["wake_at"] for e in game.told("step.round")] == [1010.0, 1020.0]
    folds(game)


def test_between_rounds_the_step_waits_as_a_row() -> None:
    game = Game(plan(step("a", until=READY)))
    poll(game, False)
    assert (game["a"].status, game["a"].wake_at, game["a"].tries) == ("backoff", 1010.0, 0)


def test_a_round_that_fails_is_retried_within_the_round() -> None:
    game = Game(plan(step("a", until=READY, retry=Retry(max_attempts=2, jitter="none"))))
    poll(game, False)
    game.begin("a")
    game.end("a", "retry", error=ERROR)
    assert (game["a"].pass_no, game["a"].status) == (2, "backoff")
    poll(game, True)
    assert (game["a"].pass_no, game["a"].status) == (2, "succeeded")


def test_rounds_are_bounded_by_number_and_by_the_deadline() -> None:
    game = Game(plan(step("a", until=READY)))
    for _ in range(3):
        poll(game, False)
    assert (game["a"].status, (game["a"].error or {})["class"]) == ("failed", "expired")
    game = Game(plan(step("a", until=READY, deadline=15.0)))
    poll(game, False)
    game.now += 10
    poll(game, False)
    assert (game["a"].status, (game["a"].error or {})["class"]) == ("failed", "deadline")
    folds(game)


def test_items_poll_each_for_itself() -> None:
    game = Game(plan(step("a", until=READY, for_each=ForEach([1, 2]))))
    for item, ready in ((0, True), (1, False), (1, True)):
        game.begin("a", item)
        game.end("a", "done", item, output={"ready": ready, "n": item})
    assert game["a"].output == [{"ready": True, "n": 0}, {"ready": True, "n": 1}]
    assert (game["a", 0].pass_no, game["a", 1].pass_no) == (1, 2)


def test_a_condition_that_breaks_fails_the_step() -> None:
    game = Game(plan(step("a", until=Until("${{ steps.a.output.nothing.there }}"))))
    poll(game, False)
    assert (game["a"].status, (game["a"].error or {})["class"]) == ("failed", "expression")


# -- long attempts -------------------------------------------------------------------------------------------------
def test_a_checkpoint_comes_back_with_the_attempts_end_and_stays_for_the_next() -> None:
    game = Game(plan(step("a")))
    game.begin("a")
    game.give(given.AttemptLost("a", -1, 1, True, checkpoint={"page": 3}))
    assert game["a"].checkpoint == {"page": 3}
    game.begin("a")
    game.end("a", "retry", error=ERROR, checkpoint={"page": 5})
    assert game["a"].checkpoint == {"page": 5}
    folds(game)


def test_a_stalled_attempt_is_tried_again() -> None:
    game = Game(plan(step("a", stall_after=5.0)))
    game.begin("a")
    game.end("a", "retry", error={"class": "stalled", "message": "No progress."})
    assert game["a"].status == "backoff"


def test_an_approval_asked_again_knows_the_digest_it_supersedes() -> None:
    game = Game(plan(approval("ask"), step("pay", "http", needs=("ask",), protected_by=("ask",))))
    game.wait("ask", "approval", timeout=60.0, spec={"actions": [action("pay")]})
    game.answer("ask", {"decision": "approved", "digest": "d1", "by": ["r"], "comment": "", "form": {}})
    game.give(given.ActionChanged("pay", -1, "ask"))
    assert (game["ask"].pass_no, game["ask"].previous_digest) == (2, "d1")
    folds(game)
