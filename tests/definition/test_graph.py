"""The graph: cycles, ancestors, what surely ran, and places to draw."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from flows.definition import graph
from flows.definition.plan import Plan, StepPlan


def plan(**needs: str) -> Plan:
    steps = tuple(StepPlan(id=s, family="sleep", config={}, needs=tuple(n.split())) for s, n in needs.items())
    return Plan(language=1, flow="f", title="T", steps=steps)


def test_a_cycle_is_named_in_order() -> None:
    assert graph.find_cycle({"a": ["c"], "b": ["a"], "c": ["b"], "d": []}) == ["a", "c", "b"]
    assert graph.find_cycle({"a": ["a"]}) == ["a"]
    assert graph.find_cycle({"a": [], "b": ["a"], "c": ["a", "b", "nowhere"]}) == []


def test_ancestors_and_descendants() -> None:
    needs = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}
    assert graph.ancestors(needs)["d"] == {"a", "b", "c"}
    assert graph.descendants(needs, "a") == {"b", "c", "d"}


def test_a_diamond_is_drawn_in_layers() -> None:
    places = {p.id: (p.rank, p.order) for p in graph.layout(plan(a="", b="a", c="a", d="b c", e=""))}
    assert places == {"a": (0, 0), "e": (0, 1), "b": (1, 0), "c": (1, 1), "d": (2, 0)}


def test_what_surely_ran() -> None:
    a = StepPlan(id="a", family="sleep", config={})
    b = StepPlan(id="b", family="sleep", config={}, needs=("a",), condition="${{ x }}")
    c = StepPlan(id="c", family="sleep", config={}, needs=("b",))
    d = StepPlan(id="d", family="sleep", config={}, needs=("c",), when="always")
    e = StepPlan(id="e", family="sleep", config={}, needs=("d",))
    sure = graph.surely_ran({s.id: s for s in (a, b, c, d, e)})
    assert sure == {"a": set(), "b": {"a"}, "c": {"a"}, "d": set(), "e": {"d"}}


edges = st.integers(1, 9).flatmap(
    lambda n: st.fixed_dictionaries({str(i): st.lists(st.integers(0, n - 1).map(str), max_size=4) for i in range(n)})
)


@given(edges)
def test_a_graph_has_a_cycle_exactly_if_it_has_no_order(needs: dict[str, list[str]]) -> None:
    order = graph.topological(needs)
    cycle = graph.find_cycle(needs)
    assert bool(cycle) == (len(order) < len(needs))
    for step, after in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True):
        assert after in needs[step]
    for index, step in enumerate(order):
        assert set(needs[step]) <= set(order[:index])


@given(edges)
def test_no_two_steps_share_a_place_and_needs_lie_above(needs: dict[str, list[str]]) -> None:
    drawn = plan(**{f"s{s}": " ".join(f"s{n}" for n in ns) for s, ns in needs.items()})
    places = {p.id: p for p in graph.layout(drawn)}
    assert len({(p.rank, p.order) for p in places.values()}) == len(places)
    for step in drawn.steps:
        if step.id in places:
            assert all(places[n].rank < places[step.id].rank for n in step.needs)


class Looked(tuple[str, ...]):
    """Needs that count how often somebody reads them."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        Looked.times += 1
        return super().__iter__()


def test_what_waits_for_a_step_is_found_by_reading_each_need_once() -> None:
    # a run's page asks this for each of up to 500 steps: reading all that is above each step would take minutes
    Looked.times = 0
    needs = {f"s{i}": Looked([f"s{i - 1}"] if i else []) for i in range(500)}
    assert len(graph.descendants(needs, "s0")) == 499 and Looked.times == 500


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=4).map(tuple)))
def test_descendants_are_ancestors_seen_from_the_other_end(needs: dict[str, tuple[str, ...]]) -> None:
    above = graph.ancestors(needs)
    for step in "abcdefg":
        assert graph.descendants(needs, step) == {s for s, found in above.items() if step in found}
