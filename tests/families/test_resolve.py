"""Resolving: which actions a step has, for which items."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from flows.definition.plan import ForEach, StepPlan
from flows.resolve import MAX_ITEMS, ResolveError, resolve_action, resolve_actions
from tests.families.attempt import plan_of

KV = {"set": {"key": "${{ item.name }}", "value": "${{ item_index }}"}}
SCOPE = {"input": {"all": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "name": "x"}}


def fanned(items: Any = "${{ input.all }}") -> Any:
    return plan_of(StepPlan(id="each", family="kv", config=KV, for_each=ForEach(items=items)))


def keys(actions: Any) -> list[tuple[Any, Any, Any]]:
    return [(a.item, a.config["set"]["key"], a.config["set"]["value"]) for a in actions]


def test_a_plain_step_has_one_action() -> None:
    plan = plan_of(StepPlan(id="one", family="kv", config={"get": {"key": "${{ input.name }}"}}))
    items: tuple[Literal["all"] | None, ...] = (None, "all")
    for item in items:
        (action,) = resolve_actions(plan, "one", SCOPE, item=item)
        assert (action.step, action.item, action.family, action.connection) == ("one", None, "kv", None)
        assert action.config == {"get": {"key": "x", "namespace": None}}


def test_all_items_of_a_fan_out_are_resolved_in_order() -> None:
    assert keys(resolve_actions(fanned(), "each", SCOPE, item="all")) == [(0, "a", 0), (1, "b", 1), (2, "c", 2)]


def test_one_item_is_resolved_as_it_is_among_all() -> None:
    everything = resolve_actions(fanned(), "each", SCOPE, item="all")
    assert resolve_actions(fanned(), "each", SCOPE, item=1) == [everything[1]]
    assert resolve_actions(fanned(), "each", {**SCOPE, "item": {"name": "b"}}, item=1) == [everything[1]]


def test_a_literal_list_may_hold_expressions() -> None:
    plan = fanned([{"name": "${{ input.name }}"}, {"name": "y"}])
    assert keys(resolve_actions(plan, "each", SCOPE, item="all")) == [(0, "x", 0), (1, "y", 1)]


def test_no_items_are_no_actions() -> None:
    assert resolve_actions(fanned([]), "each", SCOPE, item="all") == []


@pytest.mark.parametrize(
    ("items", "cls"),
    [("${{ input.name }}", "expression"), ("${{ input.nope }}", "expression"), ([0] * (MAX_ITEMS + 1), "limit")],
)
def test_items_that_are_no_list_or_too_many_are_errors(items: Any, cls: str) -> None:
    with pytest.raises(ResolveError) as raised:
        resolve_actions(fanned(items), "each", SCOPE, item="all")
    assert raised.value.error.cls == cls


def test_an_error_tells_the_step_the_expression_and_a_stable_code() -> None:
    with pytest.raises(ResolveError) as raised:
        resolve_action("one", "kv", {"get": {"key": "${{ input.nope }}"}}, SCOPE)
    assert raised.value.stable_code == "not_resolvable"
    assert "one" in raised.value.message
    assert raised.value.error.details["expression"] == "input.nope"


def test_what_came_from_outside_is_never_taken_for_an_expression() -> None:
    scope = {"input": {"name": "${{ run.id }}"}}
    action = resolve_action("one", "kv", {"set": {"key": "k", "value": "${{ input.name }}"}}, scope)
    assert action.config["set"]["value"] == "${{ run.id }}"


def test_an_unknown_step_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        resolve_actions(fanned(), "nope", SCOPE)
