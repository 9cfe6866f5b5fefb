"""Fan-outs over batches, in the order of a key, and over a list that is a resource."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from flows.definition.plan import ForEach
from tests.engine.game import ERROR, Game, plan, step

ORDERS = [{"c": "ann"}, {"c": "ann"}, {"c": "bob"}, {"c": "ann"}, {"c": "bob"}]


def game_of(each: ForEach) -> Game:
    return Game(plan(step("a", for_each=each)), input={"orders": ORDERS})


def running(game: Game) -> set[int]:
    return {s.item for s in game.state.steps.values() if s.item >= 0 and s.status in ("ready", "running")}


def keyed(**rest: Any) -> Game:
    return game_of(ForEach("${{ input.orders }}", key="${{ item.c }}", **rest))


@pytest.mark.parametrize(
    ("size", "lists"), [(2, [[1, 2], [3, 4], [5]]), (5, [[1, 2, 3, 4, 5]]), (9, [[1, 2, 3, 4, 5]])]
)
def test_items_come_in_batches(size: int, lists: list[list[int]]) -> None:
    game = Game(plan(step("a", for_each=ForEach([1, 2, 3, 4, 5], batch=size))))
    assert list(game["a"].items or ()) == lists
    for index in range(len(lists)):
        game.done("a", index, index)
    assert game["a"].output == list(range(len(lists)))
    game.fold()


def test_items_of_a_key_run_one_by_one_in_order_and_keys_side_by_side() -> None:
    game = keyed()
    assert running(game) == {0, 2}
    game.done("a", item=2)
    assert running(game) == {0, 4}
    game.done("a", item=0)
    assert running(game) == {1, 4}
    for item in (1, 4, 3):
        game.done("a", item, item)
    assert game["a"].output == [None, 1, None, 3, 4]
    game.fold()


def test_max_parallel_bounds_keys_too() -> None:
    game = keyed(max_parallel=1)
    assert running(game) == {0}
    game.done("a", item=0)
    assert running(game) == {1}


def test_after_a_failed_item_the_later_ones_of_its_key_are_skipped() -> None:
    game = keyed(on_item_error="continue")
    game.fail("a", 0)
    assert [(game["a", i].status, game["a", i].reason) for i in (1, 3)] == [("skipped", "key")] * 2
    game.done("a", "x", 2)
    game.done("a", "y", 4)
    assert game["a"].output == [None, None, "x", None, "y"]
    game.fold()


def test_without_continue_a_failed_item_stops_all() -> None:
    game = keyed()
    game.fail("a", 0)
    assert game["a"].status == "failed"
    assert game.state.status == "failed"


def test_a_key_without_a_value_fails_the_step() -> None:
    game = game_of(ForEach("${{ input.orders }}", key="${{ item.d }}"))
    assert game["a"].error and game["a"].error["class"] == "expression"


@drawn(keys=st.lists(st.sampled_from("abc"), max_size=12), room=st.none() | st.integers(1, 3), data=st.data())
def test_whatever_ends_first_each_key_keeps_its_order(keys: list[str], room: int | None, data: st.DataObject) -> None:
    each = ForEach(list(keys), key="${{ item }}", max_parallel=room, on_item_error="continue")
    game = Game(plan(step("a", for_each=each)))
    started: list[int] = []
    while not game["a"].settled:
        ready = sorted(running(game))
        assert len({keys[i] for i in ready}) == len(ready), "one of a key at a time"
        assert room is None or len(ready) <= room
        item = data.draw(st.sampled_from(ready))
        started.append(item)
        if data.draw(st.booleans()):
            game.done("a", item, item)
        else:
            game.fail("a", item)
    for key in "abc":
        of_key = [i for i in started if keys[i] == key]
        assert of_key == sorted(of_key)
        bad = [i for i in of_key if game["a", i].status == "failed"]
        assert bad in ([], of_key[-1:]), "nothing of the key starts after a failure"
    game.fold()


def test_a_list_that_is_a_resource_is_read_by_a_worker_first() -> None:
    ref = {"$res": "res://x", "size": 1}
    each = ForEach("${{ input.orders }}", batch=2)
    game = Game(plan(step("a", for_each=each)), input={"orders": ref})
    assert (game["a"].status, game["a"].load) == ("ready", ref)
    game.retry("a", error=ERROR)
    game.now += 100
    game.begin("a")
    game.lose("a", repeatable=False)
    game.begin("a")
    game.end("a", "items", output=[1, 2, 3])
    assert (game["a"].status, list(game["a"].items or ())) == ("fanned", [[1, 2], [3]])
    game.done("a", 1, 0)
    game.done("a", 2, 1)
    assert game["a"].output == [1, 2]
    game.fold()
