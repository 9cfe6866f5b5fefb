"""Retry, retry from a step, skip, complete, unknown outcomes, forks."""

from __future__ import annotations

import pytest

from flows.definition.plan import ForEach
from runs.engine import inputs as given
from runs.engine import standing
from runs.engine.decide import decide
from runs.engine.inputs import Forked
from runs.engine.state import FAILED, NO_ITEM, SUCCEEDED, UNKNOWN, State, Step, idempotency_key
from tests.engine.game import Game, action, approval, plan, shown, step
from tests.engine.test_decide_compensation import undoable

RETRY = given.RetryRequested("olga", "mended")


def say(id_: str, outcome: str, output: object = None, item: int = NO_ITEM) -> given.OutcomeSaid:
    return given.OutcomeSaid(id_, item, outcome, output, "olga", "looked")


def go(game: Game) -> None:
    """The run has its place again."""
    assert game.state.status == "queued" and game.state.ended_at is None and game.state.error is None
    game.give(given.Started())


def test_a_retry_goes_on_at_the_failed_step_with_the_same_key_and_nothing_else_again() -> None:
    game = Game(plan(step("a"), step("b", needs=("a",)), step("c", needs=("b",)), step("d", needs=("c",))))
    began = game.state.started_at
    game.done("a", 1)
    game.fail("b")
    assert (game.state.status, game["c"].status) == ("failed", "skipped")
    key = idempotency_key("R", game["b"])
    game.give(RETRY)
    assert game.told("run.reopened") == [{}]
    game.begin("b")
    assert game.refused  # it has no place yet
    go(game)
    assert game.statuses("a", "b", "c") == ["succeeded", "ready", "pending"]
    assert (idempotency_key("R", game["b"]), game.state.started_at) == (key, began)
    game.done("b")
    assert game["b"].attempt == 2
    game.done("c")
    game.done("d")
    assert game.state.status == "succeeded"


def test_only_the_failed_items_of_a_fan_out_run_again() -> None:
    flow = plan(step("f", for_each=ForEach(items=[1, 2, 3], max_parallel=2)), step("z", needs=("f",)))
    game = Game(flow)
    game.done("f", "first", item=0)
    game.begin("f", 1)
    game.fail("f", item=2)
    game.end("f", "done", 1, output="second")
    assert game.state.status == "failed"
    game.give(RETRY)
    go(game)
    assert [game["f", i].status for i in range(3)] == ["succeeded", "succeeded", "ready"]
    game.done("f", "third", item=2)
    assert game["f"].output == ["first", "second", "third"] and game["z"].status == "ready"


def test_an_expired_wait_is_opened_again_in_a_new_pass() -> None:
    game = Game(plan(step("w", "wait")))
    game.wait("w", "callback", timeout=5.0)
    game.time_up("w")
    assert game.state.status == "failed"
    game.give(RETRY)
    go(game)
    assert (game["w"].status, game["w"].pass_no) == ("ready", 2)


def test_an_unknown_outcome_must_be_said_before_a_retry() -> None:
    game = Game(plan(step("pay", "http", irreversible=True), step("b", needs=("pay",)), step("c")))
    game.fail("c")
    game.begin("pay")
    game.lose("pay", repeatable=False)
    assert game.state.status == "failed"
    game.give(RETRY)
    assert game.refused
    game.give(given.SkipRequested("pay"))
    assert game.refused
    game.give(say("pay", "not_done"))
    assert (game["pay"].status, game["pay"].acted, game.state.status) == ("failed", False, "failed")
    assert (game["pay"].error or {})["class"] == "lost"
    game.give(RETRY)
    go(game)
    assert game.statuses("pay", "c", "b") == ["ready", "ready", "pending"]


@pytest.mark.parametrize(("outcome", "status"), [("done", "succeeded"), ("again", "ready")])
def test_an_outcome_that_is_said_carries_the_run_on(outcome: str, status: str) -> None:
    game = Game(plan(step("pay", "http", irreversible=True), step("b", needs=("pay",))))
    game.begin("pay")
    game.lose("pay", repeatable=False)
    game.give(say("pay", outcome, {"id": 5}))
    go(game)
    assert (game["pay"].status, game["pay"].pass_no) == (status, 1)
    assert game["b"].status == ("ready" if outcome == "done" else "pending")


def test_an_outcome_can_be_said_while_the_run_goes_on() -> None:
    game = Game(plan(step("pay", "http", irreversible=True), step("b", needs=("pay",)), step("c")))
    game.begin("c")
    game.begin("pay")
    game.lose("pay", repeatable=False)
    assert (game.state.status, game["b"].status) == ("running", "skipped")
    game.give(say("pay", "done"))
    assert (game.state.status, game["b"].status) == ("running", "ready")
    game.give(say("pay", "done"))
    assert game.refused


def test_retrying_from_a_step_is_a_new_pass_of_it_and_what_depends_on_it() -> None:
    flow = plan(step("a"), undoable("b", needs=("a",)), step("c", needs=("b",)), step("x", needs=("a",)))
    game = Game(flow)
    game.done("a")
    game.done("b")
    game.done("x")
    game.fail("c")
    game.give(given.RetryFromRequested("b", "olga", "the other way"))
    go(game)
    assert game.statuses("a", "b", "c", "x") == ["succeeded", "ready", "pending", "succeeded"]
    assert (game["b"].pass_no, game["c"].pass_no, game["x"].pass_no) == (2, 2, 1)
    assert game["b"].acted, "its first pass did act: a cancel now undoes it"
    game.cancel()
    assert game["b~"].status == "ready"


def test_retrying_from_a_step_asks_its_approvals_again() -> None:
    go_ = action("go")
    flow = plan(approval("ask", protects=["go"]), step("mid", needs=("ask",)),
                step("go", "http", needs=("mid",), protected_by=("ask",)))  # fmt: skip
    game = Game(flow)
    game.ask("ask", go_)
    game.approve("ask")
    game.done("mid")
    game.begin("go", digests=shown("ask", go_))
    game.end("go", "fail", error={"class": "http_4xx", "message": "No."})
    game.give(given.RetryFromRequested("go", "olga"))
    go(game)
    assert game.statuses("ask", "mid", "go") == ["ready", "succeeded", "pending"] and game["ask"].pass_no == 2
    game.ask("ask", go_)
    assert game["go"].status == "pending"
    game.approve("ask")
    assert game["go"].status == "ready"


def test_a_fan_out_begun_anew_numbers_its_passes_on() -> None:
    flow = plan(step("f", for_each=ForEach(items=[1, 2], max_parallel=1)), step("z", needs=("f",)))
    game = Game(flow)
    game.done("f", item=0)
    game.done("f", item=1)
    game.fail("z")
    game.give(given.RetryFromRequested("f", "olga"))
    go(game)
    assert [(game["f", i].status, game["f", i].pass_no) for i in range(2)] == [("ready", 2), ("pending", 2)]
    game.done("f", "new", item=0)
    game.done("f", "new", item=1)
    assert game["f"].output == ["new", "new"]


def test_a_skipped_step_satisfies_what_needs_it() -> None:
    game = Game(plan(step("a"), step("b", needs=("a",)), step("x")))
    game.fail("a")
    game.fail("x")
    game.give(given.SkipRequested("a", NO_ITEM, "olga", "by hand"))
    assert (game.state.status, (game.state.error or {})["step"]) == ("failed", "x"), "another one is in the way"
    game.give(given.SkipRequested("x", NO_ITEM, "olga", "by hand"))
    go(game)
    assert game.statuses("a", "x", "b") == ["skipped", "skipped", "ready"]
    game.done("b")
    assert game.state.status == "succeeded"


def test_a_completed_step_gives_the_output_it_is_given() -> None:
    game = Game(plan(step("a"), step("b", needs=("a",)), output="${{ steps.a.output }}"))
    game.fail("a")
    game.give(given.CompleteRequested("a", NO_ITEM, {"n": 5}, "olga", "did it"))
    go(game)
    game.done("b")
    assert (game.state.status, game.state.output) == ("succeeded", {"n": 5})


def test_an_item_passed_over_lets_its_fan_out_go_on() -> None:
    flow = plan(step("f", for_each=ForEach(items=[1, 2, 3], max_parallel=1)), step("z", needs=("f",)))
    game = Game(flow)
    game.done("f", 1, item=0)
    game.fail("f", item=1)
    assert game.state.status == "failed"
    game.give(given.SkipRequested("f", 1, "olga"))
    go(game)
    assert (game["f"].status, game["f", 2].status) == ("fanned", "ready")
    game.done("f", 3, item=2)
    assert game["f"].output == [1, None, 3] and game["z"].status == "ready"


def test_nobody_gets_past_an_approval() -> None:
    flow = plan(
        approval("ask", protects=["go"], on_reject="fail"),
        step("go", "http", needs=("ask",), protected_by=("ask",), when="always"),
    )
    game = Game(flow)
    game.ask("ask", action("go"))
    game.reject("ask")
    assert (game.state.status, game.statuses("ask", "go")) == ("failed", ["failed", "skipped"])
    for step_id in ("ask", "go"):
        for event in (
            given.SkipRequested(step_id),
            given.CompleteRequested(step_id, NO_ITEM, {"decision": "approved"}),
        ):
            game.give(event)
            assert game.refused
    game.give(RETRY)
    go(game)
    assert (game["ask"].status, game["ask"].pass_no, game["go"].status) == ("ready", 2, "pending")


def test_a_run_whose_steps_were_undone_is_not_gone_on_with() -> None:
    game = Game(plan(undoable("a"), step("b", needs=("a",)), compensate_on=("failure",)))
    game.done("a")
    game.fail("b")
    game.done("a~")
    assert game.state.status == "failed" and standing.was_undone(game.state)
    for event in (RETRY, given.RetryFromRequested("a"), given.SkipRequested("b"), given.CompleteRequested("b")):
        game.give(event)
        assert game.refused


def test_a_reopened_run_can_be_cancelled_before_it_has_a_place() -> None:
    game = Game(plan(undoable("a"), step("b", needs=("a",))))
    game.done("a")
    game.fail("b")
    game.give(RETRY)
    game.cancel()
    assert game["a~"].status == "ready"
    game.done("a~")
    assert game.state.status == "cancelled"


@pytest.mark.parametrize("status", [FAILED, UNKNOWN])
def test_nobody_speaks_for_a_protected_step_whose_approval_does_not_stand(status: str) -> None:
    """Whatever led there: asked again and rejected, say. With the approval standing, the same words are heard."""
    words = [given.CompleteRequested("go", NO_ITEM, 1, "olga", "by hand")]
    words += [given.SkipRequested("go", NO_ITEM, "olga", "on")] if status == FAILED else [say("go", "done", 1)]  # type: ignore[list-item]
    flow = plan(approval("ask", protects=["go"]), step("go", needs=("ask",), protected_by=("ask",)))
    for granted in (None, {"go:-1": {"digest": "d"}}):
        ask = Step("ask", status=SUCCEEDED, granted=granted, output={"decision": "approved"})
        broken = Step("go", status=status, attempt=1, error={"class": "code", "message": "It broke."})
        state = State("R", status="failed", steps={s.key: s for s in (ask, broken)}, started_at=1.0, ended_at=2.0)
        heard = [decide(flow, state, word, 3.0).accepted for word in words]
        assert heard == [granted is not None] * len(words)


def test_a_fork_keeps_what_came_before_and_no_approval_of_what_runs() -> None:
    flow = plan(
        step("a"), approval("ask", needs=("a",), protects=["go"]),
        undoable("go", needs=("ask",), protected_by=("ask",)), step("x", needs=("a",)), step("z", needs=("go", "x")),
    )  # fmt: skip
    old = Game(flow)
    old.done("a", {"n": 1})
    old.ask("ask", action("go"))
    old.done("x", 2)
    old.approve("ask")
    old.begin("go", digests=shown("ask", action("go")))
    old.end("go", "done")
    old.fail("z")
    kept = standing.kept_by_fork(flow, old.state, "z")
    assert [s.id for s in kept] == ["a", "ask", "go", "x"]
    kept = standing.kept_by_fork(flow, old.state, "go")
    assert [s.id for s in kept] == ["a", "x"]
    new = Game(flow, started=False)
    new.give(Forked("go", "R0", [standing.keep(s) for s in kept], "olga"))
    new.give(given.Started())
    assert new.statuses("a", "x", "ask", "go", "z") == ["succeeded", "succeeded", "ready", "pending", "pending"]
    assert new["a"].output == {"n": 1}
    new.give(Forked("go", "R0", []))
    assert new.refused
    again = Game(flow, started=False)
    again.give(Forked("z", "R0", [standing.keep(s) for s in standing.kept_by_fork(flow, old.state, "z")]))
    again.give(given.Started())
    again.cancel()
    assert again.state.status == "cancelled" and again["go~"].status == "pending", (
        "what it inherited is not its to undo"
    )
