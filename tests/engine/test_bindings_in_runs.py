"""Bindings in real runs: what a test reaches, what an approval saw, whose limits count; on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.difference import difference
from approvals.models import ApprovalRequest
from flows.binding_actions import delete_binding, set_binding
from resources import health
from resources.models import Connection, Permit
from runs import permits
from runs.actions import start_run
from runs.models import Run, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, get, make_flow
from tests.engine.test_families_in_runs import PAYMENT, decide
from tests.engine.test_permits import FLOW, URL, Hand
from tests.engine.test_store_queue import drain

CALLED = FLOW.replace("connection: ci", "connection: called")
SEND = """
flow: sending
defaults: {timeout: 5s}
steps:
  - id: send
    http: {connection: shop, method: POST, path: /payments, json: {amount: 7}}
  - id: below
    call: child
"""
CHILD = """
flow: child
steps:
  - id: send
    http: {connection: shop, method: POST, path: /payments, json: {amount: 8}}
"""


@pytest.fixture
def two(world_url: str) -> str:
    """`east` and `west`, the same world under two names."""
    for name in ("east", "west"):
        config = {"base_url": world_url, "allow_networks": ["127.0.0.0/8"]}
        Connection.objects.create(name=name, kind="http", settings=config)
    return world_url


def effects(url: str) -> list[Any]:
    return [(e["key"], e["applied"]) for e in get(f"{url}/effects")]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The connections whose health the attempts spoke of."""
    found: set[str] = set()

    def note(pk: int, now: float, failure: str) -> None:
        found.add(Connection.objects.get(pk=pk).name)

    monkeypatch.setattr(health, "note_use", note)
    return found


def test_a_test_run_and_its_children_use_the_test_side_and_never_the_live_one(
    database: str, two: str, used: set[str]
) -> None:
    set_binding(actor=SYSTEM, name="shop", test="east", live="west")
    make_flow(CHILD)
    flow = make_flow(SEND)
    tested = start_run(actor=SYSTEM, flow=flow, input={}, test=True).run.pk
    drain(Worker("w"))
    assert used == {"east"} and len(effects(two)) == 2
    begin(flow)
    drain(Worker("w"))
    assert used == {"east", "west"}
    assert set(Run.objects.values_list("status", flat=True)) == {"succeeded"}
    check_fold(tested)


@pytest.mark.parametrize("when", ["before the decision", "after it", "deleted after it"])
def test_a_binding_that_changed_is_asked_about_again_with_the_difference(
    database: str, two: str, used: set[str], when: str
) -> None:
    set_binding(actor=SYSTEM, name="plain", flow="", live="east")
    if when == "deleted after it":
        Connection.objects.create(name="plain", kind="http", settings=Connection.objects.get(name="west").settings)
    run = begin(make_flow(PAYMENT))
    drain(Worker("w"))
    first = ApprovalRequest.objects.get()
    assert first.actions[0]["connection"]["name"] == "east"
    if when == "before the decision":
        set_binding(actor=SYSTEM, name="plain", live="west")
    decide(run)
    if when == "after it":
        set_binding(actor=SYSTEM, name="plain", live="west")
    elif when == "deleted after it":
        delete_binding(actor=SYSTEM, name="plain")
    drain(Worker("w"))
    assert effects(two) == [], "nothing is sent elsewhere than where it was approved for"
    assert (StepRun.objects.get(step="ask").pass_no, Run.objects.get(pk=run).status) == (2, "waiting")
    again = ApprovalRequest.objects.get(status="open")
    shown = "\n".join(map(str, difference(first.actions, again.actions)))
    assert "east" in shown and again.actions[0]["connection"]["name"] in shown
    decide(run)
    drain(Worker("w"))
    assert effects(two) == [(f"{run}:pay:1", 1)] and used == {again.actions[0]["connection"]["name"]}
    assert Run.objects.get(pk=run).status == "succeeded"
    check_fold(run)


def test_a_test_is_approved_for_what_it_reaches(database: str, two: str, used: set[str]) -> None:
    set_binding(actor=SYSTEM, name="plain", test="east", live="west")
    run = start_run(actor=SYSTEM, flow=make_flow(PAYMENT), input={}, test=True).run.pk
    drain(Worker("w"))
    assert ApprovalRequest.objects.get().actions[0]["connection"]["name"] == "east"
    set_binding(actor=SYSTEM, name="plain", test="east", live="east")  # the other side is no matter of this run
    decide(run)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "succeeded" and used == {"east"}


@pytest.fixture
def lines(database: str) -> None:
    """`ci` lets one in at a time, `free` all, `slow` one."""
    for name, limits in (("ci", {"concurrency": 1}), ("free", None), ("slow", {"concurrency": 1})):
        Connection.objects.create(name=name, kind="http", settings={**URL, **({"limits": limits} if limits else {})})
    permits.forget()


def held(run: str) -> bool:
    return Work.objects.filter(run_id=run, owner=None, wake_at=None).exists()


def test_the_limits_are_those_of_what_the_name_stands_for(lines: None) -> None:
    flow = make_flow(CALLED)
    set_binding(actor=SYSTEM, name="called", live="ci", test="free")
    first, second = begin(flow), begin(flow)
    tested = start_run(actor=SYSTEM, flow=flow, input={}, test=True).run.pk
    hands = [Hand(f"w{n}") for n in range(3)]
    assert [hand.begin() for hand in hands] == [first, None, tested]
    assert Work.objects.get(run_id=second).held_by == "connection ci: 1 at a time"
    hands[0].end()
    assert not held(second)


def test_who_waits_goes_on_when_the_name_stands_for_another(lines: None) -> None:
    flow = make_flow(CALLED)
    set_binding(actor=SYSTEM, name="called", flow=flow.slug, live="ci")
    runs = [begin(flow) for _ in range(3)]
    hands = [Hand(f"w{n}") for n in range(4)]
    assert [hand.begin() for hand in hands[:3]] == [runs[0], None, None]
    set_binding(actor=SYSTEM, name="called", flow=flow.slug, live="slow")
    assert not held(runs[1]) and not held(runs[2])
    begun = [hands[1].begin(), hands[2].begin()]
    assert begun == [runs[1], None] and Work.objects.get(run_id=runs[2]).held_by == "connection slow: 1 at a time"
    set_binding(actor=SYSTEM, name="called", flow=flow.slug, live="free")
    assert hands[2].begin() == runs[2]
    assert set(Permit.objects.values_list("run_id", flat=True)) == set(runs[:2]), "nobody waits in two lines"
    for hand in hands[:3]:
        hand.end()
    assert not Permit.objects.exists(), "each permit goes back to where it came from, whatever the name means now"
    for run in runs:
        check_fold(run)


def test_others_keep_their_place_when_the_binding_of_one_flow_changes(lines: None) -> None:
    flow, other = make_flow(CALLED), make_flow(FLOW.replace("flow: limited", "flow: other"))
    set_binding(actor=SYSTEM, name="called", flow=flow.slug, live="ci")
    first, second, third = begin(other), begin(other), begin(flow)
    hands = [Hand(f"w{n}") for n in range(3)]
    assert [hand.begin() for hand in hands] == [first, None, None]
    set_binding(actor=SYSTEM, name="called", flow=flow.slug, live="free")
    assert held(second) and not held(third)
    assert hands[1].begin() == third
    hands[0].end()
    assert hands[2].begin() == second
