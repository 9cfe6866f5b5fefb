"""Waits, approvals, digests."""

from __future__ import annotations

import pytest

from flows.definition.plan import Fallback, ForEach, Retry
from runs.engine import inputs as given
from runs.engine.turn import CloseWait, OpenWait
from tests.engine.game import ERROR, Game, action, approval, plan, shown, step


# -- waits ---------------------------------------------------------------------------------------------------------
def test_a_wait_holds_no_worker_and_its_answer_is_the_output() -> None:
    game = Game(plan(step("w"), step("z", needs=("w",))))
    game.wait("w", "callback", timeout=60.0)
    assert (game["w"].status, game.state.status) == ("waiting", "waiting")
    assert OpenWait("w", -1, 1, "callback", 1060.0, {}) in game.last.commands
    game.answer("w", {"ok": True})
    assert (game["w"].output, game["z"].status, game.state.status) == ({"ok": True}, "ready", "running")
    assert CloseWait("w", -1, 1, "answered") in game.last.commands


@pytest.mark.parametrize("verb", ["answer", "time_up"])
def test_only_the_first_signal_to_a_wait_counts(verb: str) -> None:
    game = Game(plan(step("w"), step("z", needs=("w",))))
    game.wait("w", "callback", timeout=60.0)
    game.answer("w", 1)
    getattr(game, verb)("w")
    assert game.refused and game["w"].output == 1


def test_a_signal_for_another_pass_or_before_the_wait_is_refused() -> None:
    game = Game(plan(step("w")))
    game.answer("w", 1)
    assert game.refused
    game.wait("w", "callback", timeout=60.0)
    game.answer("w", 1, pass_no=2)
    assert game.refused
    game.time_up("w", pass_no=7)
    assert game.refused


def test_a_timer_ends_with_success_and_any_other_wait_expires() -> None:
    game = Game(plan(step("t"), step("w", fallback=Fallback(value="none"))))
    game.wait("t", "timer", until=5000.0)
    game.wait("w", "callback", timeout=9.0)
    assert [c.until for d, _ in game.decisions for c in d.commands if isinstance(c, OpenWait)] == [5000.0, 1009.0]
    game.time_up("t")
    assert game["t"].status == "succeeded"
    game.time_up("w")
    assert (game["w"].status, game["w"].output) == ("succeeded", "none")
    assert game["w"].error is not None and game["w"].error["class"] == "expired"


# -- approvals -----------------------------------------------------------------------------------------------------
DEPLOY = action("deploy", url="http://prod")


def gate(**config: object) -> Game:
    game = Game(
        plan(
            approval("ask", protects=["deploy"], **config),
            step("deploy", needs=("ask",), protected_by=("ask",), retry=Retry(jitter="none")),
            step("after", needs=("deploy",)),
            step("beside", needs=("ask",)),
        )
    )
    game.ask("ask", DEPLOY)
    return game


def test_a_protected_step_starts_with_the_approved_digest_and_no_other() -> None:
    game = gate()
    game.approve("ask")
    assert game["deploy"].status == "ready"
    for wrong in (None, {}, shown("ask", {**DEPLOY, "config": {"url": "http://elsewhere"}}), shown("other", DEPLOY)):
        game.begin("deploy", digests=wrong)
        assert game.refused
    game.begin("deploy", digests=shown("ask", DEPLOY))
    assert game["deploy"].status == "running"


def test_every_retry_shows_the_digest_again() -> None:
    game = gate()
    game.approve("ask")
    game.begin("deploy", digests=shown("ask", DEPLOY))
    game.end("deploy", "retry", error=ERROR)
    game.begin("deploy")
    assert game.refused
    game.begin("deploy", digests=shown("ask", DEPLOY))
    assert game["deploy"].attempt == 2


def test_the_wording_of_an_action_is_not_part_of_what_is_approved() -> None:
    game = Game(plan(approval("ask"), step("deploy", needs=("ask",), protected_by=("ask",))))
    game.ask("ask", {**DEPLOY, "sentence": "Deploys", "irreversible": True})
    game.approve("ask")
    game.begin("deploy", digests=shown("ask", DEPLOY))
    assert not game.refused


def test_actions_that_the_form_changed_are_what_is_approved() -> None:
    game = gate()
    changed = action("deploy", url="http://canary")
    game.approve("ask", actions=[changed])
    game.begin("deploy", digests=shown("ask", DEPLOY))
    assert game.refused
    game.begin("deploy", digests=shown("ask", changed))
    assert game["deploy"].status == "running" and "actions" not in game["ask"].output


def test_two_approvals_must_both_have_granted() -> None:
    both = ("one", "two")
    game = Game(plan(approval("one"), approval("two"), step("deploy", needs=both, protected_by=both)))
    for ask in both:
        game.ask(ask, DEPLOY)
        game.approve(ask)
    game.begin("deploy", digests=shown("one", DEPLOY))
    assert game.refused
    game.begin("deploy", digests={**shown("one", DEPLOY), **shown("two", DEPLOY)})
    assert game["deploy"].status == "running"


def test_rejected_and_continue_skips_what_is_protected_and_what_needs_it() -> None:
    game = gate(on_reject="continue")
    game.reject("ask")
    assert game["ask"].status == "succeeded" and game["ask"].output["decision"] == "rejected"
    assert game.statuses("deploy", "after", "beside") == ["skipped", "skipped", "ready"]
    assert game["deploy"].reason == "approval"
    game.done("beside")
    assert game.state.status == "succeeded"


def test_rejected_and_stop_cancels_the_run() -> None:
    game = gate()
    game.reject("ask")
    assert (game["ask"].status, game.state.status) == ("failed", "cancelled")
    assert game.state.cancel is not None and "Not today." in game.state.cancel["reason"]


def test_rejected_and_fail_fails_the_run() -> None:
    game = gate(on_reject="fail")
    game.reject("ask")
    assert game["ask"].error is not None and game["ask"].error["class"] == "rejected"
    assert (game.statuses("deploy", "beside"), game.state.status) == (["skipped", "skipped"], "failed")


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ({}, "cancelled"),
        ({"on_expiry": "reject", "on_reject": "continue"}, "running"),
        ({"on_expiry": "fail", "on_reject": "continue"}, "failed"),
    ],
)
def test_expiry_never_approves(config: dict[str, object], status: str) -> None:
    game = gate(**config)
    game.time_up("ask")
    assert game.state.status == status
    assert game["deploy"].status in {"skipped", "pending"}
    assert CloseWait("ask", -1, 1, "expired") in game.last.commands
    game.approve("ask")
    assert game.refused


def test_a_decision_on_a_request_that_was_replaced_is_refused() -> None:
    game = gate()
    game.approve("ask")
    game.give(given.ActionChanged("deploy", -1, "ask"))
    assert (game["ask"].status, game["ask"].pass_no, game["deploy"].status) == ("ready", 2, "pending")
    game.ask("ask", action("deploy", url="http://new"))
    game.answer("ask", {"decision": "approved"}, pass_no=1)
    assert game.refused
    game.approve("ask")
    game.begin("deploy", digests=shown("ask", DEPLOY))
    assert game.refused
    game.begin("deploy", digests=shown("ask", action("deploy", url="http://new")))
    assert game["deploy"].status == "running"


def test_an_action_change_is_refused_where_it_has_no_place() -> None:
    game = gate()
    game.give(given.ActionChanged("deploy", -1, "ask"))  # not approved yet
    assert game.refused
    game.approve("ask")
    game.give(given.ActionChanged("beside", -1, "ask"))  # does not protect it
    assert game.refused


def test_a_function_that_stands_in_for_a_protected_step_needs_no_digest() -> None:
    deploy = step("deploy", needs=("ask",), protected_by=("ask",), fallback=Fallback(family="function", config={}))
    game = Game(plan(approval("ask"), deploy))
    game.ask("ask", DEPLOY)
    game.approve("ask")
    game.begin("deploy", digests=shown("ask", DEPLOY))
    game.end("deploy", "fail", error=ERROR)
    game.done("deploy", "stood in")
    assert game.state.status == "succeeded" and game.state.degraded


def protected_fan(**rest: object) -> Game:
    each = ForEach([1, 2, 3], max_parallel=2)
    game = Game(
        plan(
            approval("ask", **rest),
            step("deploy", needs=("ask",), protected_by=("ask",), for_each=each),
            step("after", needs=("deploy",)),
        )
    )
    game.ask("ask", *(action("deploy", i, n=i) for i in range(3)))
    game.approve("ask")
    return game


def start_item(game: Game, index: int, n: int | None = None) -> None:
    game.begin("deploy", index, digests=shown("ask", action("deploy", index, n=index if n is None else n)))


def test_items_whose_action_changed_start_again_once_people_agree() -> None:
    game = protected_fan()
    start_item(game, 0)
    game.give(given.ActionChanged("deploy", 1, "ask"))
    assert game["deploy", 1].status == "pending"
    game.end("deploy", "done", 0, output="zero")
    assert game["deploy", 2].status == "pending"  # nothing opens while people are asked
    game.ask("ask", *(action("deploy", i, n=9) for i in range(3)))
    game.approve("ask")
    assert [game["deploy", i].status for i in range(3)] == ["succeeded", "ready", "ready"]
    for i in (1, 2):
        start_item(game, i, 9)
        game.end("deploy", "done", i, output=i)
    assert game["deploy"].output == ["zero", 1, 2]


def test_items_whose_change_was_rejected_are_skipped_and_so_is_what_follows() -> None:
    game = protected_fan(on_reject="continue")
    start_item(game, 0)
    game.give(given.ActionChanged("deploy", 1, "ask"))
    game.ask("ask", action("deploy", 1, n=9))
    game.reject("ask")
    assert (game["deploy"].status, game["deploy", 0].status) == ("fanned", "running")
    game.end("deploy", "done", 0)
    assert (game["deploy"].status, game["deploy"].reason, game["after"].status) == ("skipped", "approval", "skipped")
    assert game.state.status == "succeeded"
