"""Routes: the first rule that holds is taken when the step opens; what it did not choose is skipped."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.game import Game, plan, step

RULES = [
    {"if": "${{ input.n > 100 }}", "to": ["big"], "value": "${{ input.n * 2 }}", "name": "large orders"},
    {"if": "${{ input.n > 10 }}", "to": ["mid"]},
]


def routed(n: Any, **rest: Any) -> Game:
    route = step("pick", "route", config={"rules": RULES, "default": {"to": ["small"]}}, **rest)
    after = [step(name, needs=("pick",)) for name in ("big", "mid", "small")]
    return Game(plan(route, *after, step("end", needs=("big", "mid", "small"))), input={"n": n})


@pytest.mark.parametrize(
    ("n", "rule", "name", "value", "chosen"),
    [
        (500, 1, "large orders", 1000, "big"),
        (50, 2, "rule 2", None, "mid"),
        (5, 0, "default", None, "small"),
    ],
)
def test_the_first_rule_that_holds_is_taken_and_the_others_steps_are_skipped(
    n: int, rule: int, name: str, value: Any, chosen: str
) -> None:
    game = routed(n)
    assert game["pick"].output == {"rule": rule, "name": name, "value": value}
    assert game["pick"].attempt == 0
    assert game.told("step.routed") == [{"rule": rule, "name": name, "value": value, "to": [chosen]}]
    others = {"big", "mid", "small"} - {chosen}
    assert {(game[o].status, game[o].reason) for o in others} == {("skipped", "route")}
    game.done(chosen)
    assert game["end"].status == "ready", "a step that was not chosen satisfies what needs it"
    game.done("end")
    assert game.state.status == "succeeded"
    game.fold()


def test_a_rule_without_a_value_fails_the_route_and_nothing_it_leads_to_runs() -> None:
    game = routed("many")
    assert game["pick"].error and game["pick"].error["class"] == "expression"
    assert {s.status for s in game.state.steps.values()} == {"failed", "skipped"}
    assert game.state.status == "failed"
    game.fold()


def test_a_route_that_was_skipped_chose_nothing() -> None:
    game = routed(500, condition=False)
    assert game.statuses("pick", "big", "mid", "small") == ["skipped"] * 4
    assert game["big"].reason == "route"


def test_a_step_that_two_routes_lead_to_runs_only_where_both_chose_it() -> None:
    def route(id_: str, condition: bool) -> Any:
        return step(id_, "route", config={"rules": [{"if": condition, "to": ["x"]}], "default": {}})

    for second, status in ((True, "ready"), (False, "skipped")):
        game = Game(plan(route("a", True), route("b", second), step("x", needs=("a", "b"))))
        assert game["x"].status == status


def test_a_hundred_rules_are_looked_at_in_order() -> None:
    rules = [{"if": f"${{{{ input.n == {i} }}}}", "value": i} for i in range(100)]
    game = Game(plan(step("pick", "route", config={"rules": rules, "default": {}})), input={"n": 99})
    assert game["pick"].output["rule"] == 100
