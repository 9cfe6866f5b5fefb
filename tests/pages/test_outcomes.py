"""What the pages and the API say of contracts, routes, joins, fallbacks and batches; of runs that really ran."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.definition.compiler import compile_source
from flows.models import Flow, Release
from flows.sketch import sketch
from resources.access import Actor
from runs.actions import start_run
from runs.models import Run
from runs.worker import Worker
from tests.pages import seed
from tests.pages.test_browser import axe, lively, visit  # noqa: F401  fixtures

SignIn = Callable[[str], Client]
SOURCE = """
flow: outcomes
title: Price an order
folder: payments
input: {type: object, properties: {bad: {type: boolean, default: false}, n: {type: integer, default: 20}}}
steps:
  - id: way
    route:
      rules:
        - {if: "${{ input.n > 10 }}", to: [large], name: large orders}
        - {if: "${{ input.n < 0 }}", name: refunds}
      default: {}
  - {id: large, function: {code: "1"}}
  - id: rate
    fallback: {last_good: true}
    function: {code: "1 / (0 if bad else 1)", input: {bad: "${{ input.bad }}"}}
  - {id: slow, needs: [rate], wait: {callback: {timeout: 1h}}}
  - {id: fast, needs: [rate], function: {code: "1"}}
  - {id: first, needs: [slow, fast], join: any, function: {code: "1"}}
  - id: lines
    for_each: {items: [1, 2, 3, 4, 5], batch: 2}
    function: {code: "1"}
  - id: check
    ensures: [{if: "${{ steps.check.output < 10 }}", message: the price is too high}]
    function: {code: "n", input: {n: "${{ input.n }}"}}
"""


def make_runs() -> dict[str, str]:
    """{good | stale: run id}: the second one's rate is the first one's."""
    plan, problems = compile_source(SOURCE)
    assert plan is not None, problems
    flow = Flow.objects.create(slug=plan.flow, title=plan.title, folder=plan.folder)
    made = {"plan_json": plan.to_json(), "checksum": plan.checksum, "language": 1}
    flow.live = Release.objects.create(flow=flow, version="1.0.0", source=SOURCE, revision=1, **made)
    flow.save(update_fields=["live"])
    found = {}
    for name, given in (("good", {"n": 5}), ("stale", {"n": 20, "bad": True})):
        found[name] = start_run(actor=Actor.system("test"), flow=flow, input=given).run.pk
        worker, end = Worker("w"), time.monotonic() + 20
        while not Run.objects.get(pk=found[name]).ended and time.monotonic() < end:
            worker.work_once()
    return found


@pytest.fixture
def runs(transactional_db: None) -> dict[str, str]:
    return make_runs()


@pytest.fixture
def ana(runs: dict[str, str]) -> Client:
    client = Client()
    client.force_login(seed.people()["ana"])
    return client


def inspected(client: Client, run: str, step: str) -> Any:
    answer = client.get(f"/runs/{run}?step={step}")
    assert answer.status_code == 200
    return answer.context["inspect"]


def test_the_rule_a_route_took_is_marked_in_its_table(ana: Client, runs: dict[str, str]) -> None:
    table = inspected(ana, runs["stale"], "way")["table"]
    assert [(r["name"], r["taken"], r["to"]) for r in table] == [
        ("large orders", True, ("large",)), ("refunds", False, ()), ("default", False, ()),
    ]  # fmt: skip
    assert [r["name"] for r in inspected(ana, runs["good"], "way")["table"] if r["taken"]] == ["default"]
    assert "another way was taken" in inspected(ana, runs["good"], "large")["notes"][0]["title"]


def test_a_stale_output_says_how_old_it_is_and_where_it_comes_from(ana: Client, runs: dict[str, str]) -> None:
    [note] = inspected(ana, runs["stale"], "rate")["notes"]
    assert note["run"] == runs["good"]
    page = ana.get(f"/runs/{runs['stale']}?step=rate").content.decode()
    assert "Stale output" in page and f'href="/runs/{runs["good"]}"' in page
    assert "Degraded" in page
    assert "Degraded" not in ana.get(f"/runs/{runs['good']}").content.decode()


def test_a_broken_contract_shows_its_expression(ana: Client, runs: dict[str, str]) -> None:
    [note] = inspected(ana, runs["stale"], "check")["notes"]
    assert note["code"] == "${{ steps.check.output < 10 }}"
    assert "the price is too high" in ana.get(f"/runs/{runs['stale']}?step=check").content.decode()


def test_joins_and_batches_are_said_in_words_and_on_the_map(ana: Client, runs: dict[str, str]) -> None:
    page = ana.get(f"/runs/{runs['good']}?step=first").context
    assert page["inspect"]["rules"] == ["Starts when 1 of 2 steps it needs have succeeded."]
    marks = {n["id"]: n["mark"] for n in page["map"]["nodes"]}
    assert (marks["first"], marks["way"], marks["fast"]) == ("1/2", "◇", "")
    assert "a join went on without it" in inspected(ana, runs["good"], "slow")["notes"][0]["title"]
    lines = inspected(ana, runs["good"], "lines")
    assert (lines["rules"], lines["items"][0]["n"]) == (["In batches of at most 2."], 3)


def test_the_list_filters_degraded_runs(ana: Client, runs: dict[str, str]) -> None:
    page = ana.get("/runs?status=degraded")
    assert [r["id"] for r in page.context["rows"]] == [runs["stale"]]
    assert {c["label"]: c["n"] for c in page.context["chips"]}["Degraded"] == 1
    assert {c["label"]: c["n"] for c in page.context["chips"]}["All"] == 2


def test_the_api_says_and_filters_what_is_degraded(ana: Client, runs: dict[str, str]) -> None:
    run = ana.get(f"/api/v1/runs/{runs['stale']}").json()
    steps = {s["id"]: s for s in run["steps"]}
    assert run["degraded"] is True
    assert (steps["rate"]["stale"], steps["rate"]["fallback"], steps["slow"]["reason"]) == (True, True, "join")
    for asked, found in (("true", "stale"), ("false", "good")):
        assert [r["id"] for r in ana.get(f"/api/v1/runs?degraded={asked}").json()["items"]] == [runs[found]]


def test_the_sketch_of_a_draft_says_joins_and_routes() -> None:
    graph = sketch(SOURCE)
    assert graph is not None
    detail = {n["id"]: n["detail"] for n in graph["nodes"]}
    assert (detail["way"], detail["first"]) == ("2 rules, else default", "any of 2, then function")


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_the_notes_are_readable_for_everybody(visit: Callable[..., Any], live_server: Any, size: str) -> None:  # noqa: F811
    runs = make_runs()
    page = visit("/runs", size=size)
    for step in ("way", "rate", "check", "first"):
        page.goto(f"{live_server.url}/runs/{runs['stale']}?step={step}")
        assert axe(page) == []
        assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert page.complaints == []


def test_every_run_made_here_ended(runs: dict[str, str]) -> None:
    assert set(Run.objects.values_list("status", flat=True)) == {"succeeded", "failed"}
