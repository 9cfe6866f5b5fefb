"""Bindings: what a name stands for in tests and in live runs, who may say so, and what keeps a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import bindings
from flows.actions import create_flow, release_draft, save_draft
from flows.binding_actions import delete_binding, get, set_binding, visible
from flows.definition.bindings import Place, Sides, stands_for
from flows.definition.lint import Known, lint
from flows.known import known_names
from flows.models import Binding, Flow
from flows.resolve import ResolveError, resolve_action
from flows.steps.registry import family
from resources import connections, usage
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.models import AuditEntry

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
ADMIN = Actor.system("tests")
FLOW = """
flow: deploy
folder: payments
defaults: {timeout: 30s}
steps:
  - id: a
    http: {connection: shop}
"""
LIVE, TEST = Place("deploy"), Place("deploy", test=True)


@pytest.fixture(autouse=True)
def there_are_some() -> None:
    for name in ("shop", "real", "sandbox"):
        settings = {"base_url": "https://api.example.com"}
        connections.create_connection(actor=ADMIN, name=name, kind="http", settings=settings)


def bind(name: str = "shop", flow: str = "", actor: Actor = ADMIN, **sides: str) -> Binding:
    return set_binding(actor=actor, name=name, flow=flow, **sides)


def make(source: str = FLOW, *, live: bool = True) -> Flow:
    create_flow(actor=ADMIN, source=source)
    if live:
        release_draft(actor=ADMIN, slug="deploy", version="1.0.0", live=True)
    return Flow.objects.get()


def uses(name: str) -> list[tuple[str, bool]]:
    return [(use.label, use.blocks) for use in usage.uses_of("connection", name)]


def rules(source: str, known: Known | None = None) -> list[tuple[str, str]]:
    found = lint(source, known=known or known_names())
    return [(p.rule, p.severity) for p in found if "connection" in p.rule]


_names = st.sampled_from(["", "a", "b", "c"])
_sides = st.builds(Sides, _names, _names)
_keys = st.tuples(st.sampled_from(["", "f", "g"]), st.sampled_from(["a", "b"]))


@given(st.dictionaries(_keys, _sides), st.sampled_from(["a", "b"]), st.booleans())
def test_the_flows_own_comes_first_then_the_workspaces_then_the_name_and_nothing_is_looked_up_twice(
    bound: dict[tuple[str, str], Sides], name: str, test: bool
) -> None:
    def side(flow: str) -> str:
        sides = bound.get((flow, name), Sides())
        return sides.test if test else sides.live

    assert stands_for(name, Place("f", test), bound) == (side("f") or side("") or name)
    assert stands_for(name, Place("", test), bound) == (side("") or name)


def test_test_and_live_runs_reach_what_their_side_says(django_assert_num_queries: Any) -> None:
    make()
    bind(live="real")
    bind(flow="deploy", test="sandbox")
    with django_assert_num_queries(1):
        assert bindings.connection_for("shop", LIVE) == "real"
    assert bindings.connection_for("shop", TEST) == "sandbox"
    assert bindings.connection_for("shop", Place("another", test=True)) == "shop"


def test_an_action_names_the_connection_itself_with_its_version(django_assert_num_queries: Any) -> None:
    make()
    bind(flow="deploy", test="sandbox", live="real")
    with django_assert_num_queries(2):
        action = resolve_action("a", "http", {"connection": "shop"}, {}, place=LIVE)
    assert action.connection == connections.ref_json("real")
    assert "real" in family("http").describe(action)
    tested = resolve_action("a", "http", {"connection": "shop"}, {}, place=TEST)
    assert tested.connection == connections.ref_json("sandbox")


def test_a_name_that_stands_for_nothing_is_told_with_both_names() -> None:
    make(FLOW.replace("shop", "elsewhere"), live=False)
    bind("elsewhere", "deploy", live="real")
    connections.delete_connection(actor=ADMIN, name="real")
    with pytest.raises(ResolveError, match="no connection 'real', which 'elsewhere' stands for in live runs"):
        resolve_action("a", "http", {"connection": "elsewhere"}, {}, place=LIVE)
    with pytest.raises(ResolveError, match="There is no connection 'elsewhere'; create"):
        resolve_action("a", "http", {"connection": "elsewhere"}, {}, place=TEST)


CELLS = [
    ("admin", "", {"live": "real"}, False), ("author", "", {"test": "sandbox"}, False),
    ("admin", "deploy", {"live": "real", "test": "sandbox"}, True), ("author", "deploy", {"test": "sandbox"}, True),
    ("author", "deploy", {"live": "real"}, False), ("author", "deploy", {"live": "real", "test": "sandbox"}, False),
    ("operator", "deploy", {"test": "sandbox"}, False), ("viewer", "deploy", {"test": "sandbox"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("role", "flow", "sides", "may"), CELLS)
def test_who_may_set_what(person: Callable[..., Any], role: str, flow: str, sides: dict[str, str], may: bool) -> None:
    make()
    actor = Actor.of_user(person("pat", role, "payments"))
    if may:
        set_binding(actor=actor, name="shop", flow=flow, **sides)
        entry = AuditEntry.objects.get(action="binding.set")
        assert (entry.actor, entry.data["before"]) == ("pat", {"test": "", "live": ""})
        assert entry.data["after"] == {"test": "", "live": "", **sides}
    else:
        with pytest.raises(NotAllowed):
            set_binding(actor=actor, name="shop", flow=flow, **sides)
        assert not Binding.objects.exists()


def test_an_author_changes_the_test_side_and_leaves_the_live_one(person: Callable[..., Any]) -> None:
    make()
    bind(flow="deploy", live="real")
    ann = Actor.of_user(person("ann", "author", "payments"))
    bind(flow="deploy", actor=ann, test="sandbox", live="real")
    for live in ("", "shop"):
        with pytest.raises(NotAllowed):
            bind(flow="deploy", actor=ann, test="sandbox", live=live)
    with pytest.raises(NotAllowed):
        delete_binding(actor=ann, name="shop", flow="deploy")
    assert Binding.objects.values_list("test", "live").get() == ("sandbox", "real")


def test_others_folders_bindings_are_not_seen(person: Callable[..., Any]) -> None:
    make()
    bind(flow="deploy", test="sandbox")
    bind(live="real")
    olga = Actor.of_user(person("olga", "viewer", "ops"))
    assert [row.flow for row in visible(olga)] == [None]
    with pytest.raises(NotFound):
        get(olga, "shop", "deploy")


@pytest.mark.parametrize(
    ("name", "sides", "path"),
    [("Shop!", {"live": "real"}, "name"), ("shop", {}, "live"), ("shop", {"live": "nowhere"}, "live"),
     ("shop", {"test": "No\0where"}, "test"), ("shop", {"test": "x" * 70_000}, "test")],
)  # fmt: skip
def test_mistakes_name_their_place(name: str, sides: dict[str, str], path: str) -> None:
    with pytest.raises(BadInput) as caught:
        set_binding(actor=ADMIN, name=name, **sides)
    assert caught.value.details[0]["path"] == path and not Binding.objects.exists()


def test_deleting_one_is_told_and_the_name_is_itself_again() -> None:
    bind(live="real")
    delete_binding(actor=ADMIN, name="shop")
    assert (Binding.objects.count(), bindings.connection_for("shop", LIVE)) == (0, "shop")
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.data["before"]["live"]) == ("binding.deleted", "real")


def test_what_a_live_flow_reaches_through_a_binding_cannot_be_deleted() -> None:
    make()
    bind(live="real", test="sandbox")
    assert (uses("shop"), uses("real")) == ([], [("flow deploy", True), ("binding shop of all flows", False)])
    assert uses("sandbox") == [("draft of flow deploy", False), ("binding shop of all flows", False)]
    assert usage.counts_of("connection") == {"real": 1, "sandbox": 1}
    with pytest.raises(Conflict, match="real is used by flow deploy"):
        connections.delete_connection(actor=ADMIN, name="real")
    connections.delete_connection(actor=ADMIN, name="shop")
    connections.delete_connection(actor=ADMIN, name="sandbox")


def test_a_live_binding_of_a_live_flow_keeps_its_connection_and_one_of_a_draft_does_not() -> None:
    create_flow(actor=ADMIN, source=FLOW)
    bind("other", "deploy", live="real")
    assert uses("real") == [("binding other of flow deploy", False)]
    release_draft(actor=ADMIN, slug="deploy", version="1.0.0", live=True)
    with pytest.raises(Conflict, match="binding other of flow deploy"):
        connections.delete_connection(actor=ADMIN, name="real")
    delete_binding(actor=ADMIN, name="other", flow="deploy")
    connections.delete_connection(actor=ADMIN, name="real")


def test_a_flow_counts_once_for_a_connection_it_reaches_in_two_ways() -> None:
    make(FLOW + "  - id: b\n    http: {connection: real}\n")
    bind(flow="deploy", live="real")
    assert usage.counts_of("connection") == {"real": 1, "shop": 1}
    save_draft(actor=ADMIN, slug="deploy", source=FLOW, revision=1)
    assert uses("real")[0] == ("flow deploy", True)


def test_uses_and_counts_ask_as_often_for_many_bindings(django_assert_num_queries: Any) -> None:
    make()
    for name in ("shop", "b", "c", "d"):
        bind(name, live="real")
        bind(name, "deploy", test="sandbox")
    with django_assert_num_queries(8):  # four of flows, three of open runs, one of subscriptions
        uses("real")
    with django_assert_num_queries(4):  # three of flows, one of subscriptions
        usage.counts_of("connection")


def test_lint_takes_a_bound_name_and_warns_where_a_side_is_missing() -> None:
    source = FLOW.replace("shop", "unknown")
    assert rules(source) == [("unknown-connection", "error")]
    bind("unknown", live="real")
    assert rules(source) == [("unknown-connection", "warning")]
    bind("unknown", live="real", test="sandbox")
    assert rules(source) == []
    connections.delete_connection(actor=ADMIN, name="sandbox")
    connections.delete_connection(actor=ADMIN, name="real")
    assert rules(source) == [("unknown-connection", "error")] * 2


@pytest.mark.parametrize(
    "step",
    ["http: {connection: files}", "http: {url: 'https://x.example'}\n    compensate: {http: {connection: files}}",
     "http: {url: 'https://x.example'}\n    fallback: {http: {connection: files}}",
     "http: {url: 'https://x.example', method: POST}\n    irreversible: true\n"
     "    already_done: {http: {connection: files}, if: '${{ check.output.status == 200 }}'}",
     "ssh: {connection: shop, command: [ls]}",
     "llm: {connection: brain, prompt: hi, tools: [{name: look, description: d, parameters: {type: object}, "
     "do: {http: {connection: files}}}]}"],
)  # fmt: skip
def test_a_connection_of_the_wrong_kind_is_an_error_wherever_it_stands(step: str) -> None:
    settings = {"file": "files.db"}
    connections.create_connection(actor=ADMIN, name="files", kind="sqlite", settings=settings)
    source = f"flow: deploy\ndefaults: {{timeout: 30s}}\nbudget: {{tokens: 10}}\nsteps:\n  - id: a\n    {step}\n"
    assert ("wrong-connection-kind", "error") in rules(source)


def test_the_kind_is_that_of_what_the_name_stands_for() -> None:
    connections.create_connection(actor=ADMIN, name="files", kind="sqlite", settings={"file": "files.db"})
    bind(test="files")
    (problem,) = [p for p in lint(FLOW, known=known_names()) if p.rule == "wrong-connection-kind"]
    assert "`files`, which `shop` stands for, is of the kind sqlite; this step takes http" in problem.message
