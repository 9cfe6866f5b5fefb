"""What an item may name is what the whole state says, though most of it is looked at once for all items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flows.definition import expr
from runs import scopes
from runs.engine.state import FANNED, RUNNING, SUCCEEDED, State, Step, scope_of

URLS = {"call": "https://here.test/callbacks/1"}
ITEMS = ({"n": 1}, {"n": 2**70}, "three", None)


def state_with_items() -> State:
    steps = [
        Step("first", status=SUCCEEDED, attempt=1, output=[1, 2, {"deep": "x"}]),
        Step("each", status=FANNED, items=ITEMS, opened=2),
        Step("each", 0, status=RUNNING, attempt=1),
        Step("each", 1, status=RUNNING, attempt=1),
    ]
    given = {"input": {"a": 1}, "trigger": {"kind": "api"}, "started_at": 1.5}
    return State("run", status="running", steps={s.key: s for s in steps}, **given)  # type: ignore[arg-type]


def whole(state: State, index: int) -> Mapping[str, Any]:
    return expr.Scope.of(scope_of(state, item=ITEMS[index], item_index=index, urls=URLS)).values


def test_each_item_names_what_the_state_says() -> None:
    state = state_with_items()
    for index, item in enumerate(ITEMS):
        assert scopes.of_item(state, URLS, item, index).values == whole(state, index)
    assert scopes.of_item(state, URLS, ITEMS[1], 1).values["item"] == {"n": str(2**70)}


def test_what_changed_since_is_seen() -> None:
    state = state_with_items()
    scopes.of_item(state, URLS, ITEMS[0], 0)
    later = state.with_step(Step("second", status=SUCCEEDED, attempt=1, output="new"))
    assert scopes.of_item(later, URLS, ITEMS[0], 0).values == whole(later, 0)
    again = later.with_step(replace(later.step("first"), output="other", attempt=2))
    assert scopes.of_item(again, URLS, ITEMS[0], 0).values == whole(again, 0)
    other = replace(again, run_id="another")
    assert scopes.of_item(other, URLS, ITEMS[0], 0).values["run"] == {"id": "another", "started_at": 1.5}


def test_what_items_share_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    state, looked = state_with_items(), []
    real = expr.Scope.of.__func__  # type: ignore[attr-defined]  # a classmethod's

    def of(cls: type[expr.Scope], values: Mapping[str, Any]) -> expr.Scope:
        looked.append(set(values))
        made: expr.Scope = real(cls, values)
        return made

    monkeypatch.setattr(expr.Scope, "of", classmethod(of))
    for index, item in enumerate(ITEMS):
        state = state.with_step(replace(state.step("each"), opened=index + 1))
        state = state.with_step(Step("each", index, status=SUCCEEDED, output=index))
        scopes.of_item(state, URLS, item, index)
    assert sum("steps" in names for names in looked) == 1 and len(looked) == 1 + len(ITEMS)


def test_values_no_expression_may_read_are_refused() -> None:
    with pytest.raises(expr.ExprError):
        scopes.of_item(state_with_items(), URLS, "\0", 0)
