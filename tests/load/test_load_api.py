"""Pausing a flow, full lines, skipped starts and priorities: the same in the API, in webhooks and on the pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

import orchestra.load
from flows.actions import create_flow, release_draft
from flows.models import Flow
from orchestra.supervisor.pool import read_signal
from orchestra.supervisor.scale import Signal
from resources.access import Actor
from runs import load
from runs.models import FlowGate, Run, Work, WorkCluster
from tests.api.conftest import Caller, author, call_as, forget_plans, person

__all__ = ["author", "call_as", "forget_plans", "person"]
pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]

SOURCE = """\
flow: narrow
folder: team
title: A narrow flow
MORE
triggers:
  - manual: {}
  - webhook: {name: open, verify: none}
steps:
  - id: rest
    sleep: 1h
"""


@pytest.fixture
def ana(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    person("ana", "operator", "team")
    return call_as(person("ana", "author", "team"))


@pytest.fixture
def flow(author: Actor) -> Callable[[str], Flow]:
    def make(more: str = "") -> Flow:
        made = create_flow(actor=author, source=SOURCE.replace("MORE\n", more and more + "\n"))
        release_draft(actor=author, slug="narrow", version="1.0.0", live=True)
        made.refresh_from_db()
        return made

    return make


@pytest.fixture
def page(person: Callable[..., Any]) -> Client:
    person("ana", "operator", "team")
    client = Client()
    client.force_login(person("ana", "author", "team"))
    return client


def hook(client: Client) -> Any:
    return client.post("/hooks/narrow/open", "{}", content_type="application/json")


def test_a_full_line_answers_429_with_retry_after_everywhere(ana: Caller, flow: Any, page: Client) -> None:
    flow("max_queued: 1")
    assert ana("POST", "/flows/narrow/runs", {}).status_code == 201
    for refused in (ana("POST", "/flows/narrow/runs", {}), hook(page)):
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "max_queued")
        assert 1 <= int(refused["Retry-After"]) <= 60
    shown = page.post("/flows/narrow/start", {"key": "x"})
    assert shown.status_code == 422 and "wait to begin, and it allows 1" in shown.content.decode()


def test_a_skipped_start_is_answered_with_the_run_that_holds_the_place(ana: Caller, flow: Any, page: Client) -> None:
    flow("concurrency: {key: one, on_conflict: skip}")
    first = ana("POST", "/flows/narrow/runs", {}).json()
    assert first["outcome"] == "started"
    second = ana("POST", "/flows/narrow/runs", {})
    assert (second.status_code, second.json()["outcome"], second.json()["id"]) == (200, "skipped", first["id"])
    assert hook(page).json() == {"status": "skipped", "run": first["id"]}
    shown = page.post("/flows/narrow/start", {"key": "x"}, follow=True)
    assert "Nothing was started" in shown.content.decode() and Run.objects.count() == 1


def test_a_taken_key_is_a_conflict_that_names_the_holder(ana: Caller, flow: Any, page: Client) -> None:
    flow("concurrency: {key: one, on_conflict: fail}")
    first = ana("POST", "/flows/narrow/runs", {}).json()["id"]
    for refused in (ana("POST", "/flows/narrow/runs", {}), hook(page)):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["details"]["runs"]) == (409, "key_taken", [first])


def test_a_queued_run_says_what_it_waits_for_and_its_place_in_the_line(ana: Caller, flow: Any, page: Client) -> None:
    flow("concurrency: {key: one}")
    ids = [ana("POST", "/flows/narrow/runs", {}).json()["id"] for _ in range(3)]
    queued = ana("GET", f"/runs/{ids[2]}").json()["queued"]
    assert (queued["kind"], queued["key"], queued["position"], queued["holders"]) == ("key", "one", 2, [ids[0]])
    shown = page.get(f"/runs/{ids[2]}").content.decode()
    assert "In line, number 2." in shown and f"/runs/{ids[0]}" in shown and "&#x27;one&#x27;" in shown
    assert ana("GET", f"/runs/{ids[0]}").json()["queued"]["kind"] == "worker"


def test_a_flow_is_paused_and_resumed_over_the_api(ana: Caller, flow: Any) -> None:
    flow()
    gate = ana("POST", "/flows/narrow/pause", {"reason": "a storm"}).json()
    assert (gate["paused"], gate["mode"], gate["reason"], gate["actor"]) == (True, "queue", "a storm", "ana")
    run = ana("POST", "/flows/narrow/runs", {}).json()
    assert (run["status"], run["queued"]["kind"]) == ("queued", "paused")
    assert ana("GET", "/flows/narrow/gate").json()["queued"] == 1
    assert ana("POST", "/flows/narrow/resume", {}).json()["paused"] is False
    assert ana("POST", "/flows/narrow/resume").json()["error"]["code"] == "flow_not_paused"
    assert ana("POST", "/flows/narrow/pause", {"reason": " "}).json()["error"]["code"] == "bad_reason"
    assert ana("POST", "/flows/narrow/pause").status_code == 422
    ana("POST", "/flows/narrow/pause", {"mode": "refuse", "reason": "no"})
    refused = ana("POST", "/flows/narrow/runs", {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "flow_paused")


def test_a_flow_is_paused_and_resumed_on_its_page(flow: Any, page: Client) -> None:
    flow()
    assert "Pause the flow…" in page.get("/flows/narrow").content.decode()
    shown = page.post("/flows/narrow/pause", {"reason": "a storm", "mode": "queue"}, follow=True).content.decode()
    assert "Paused by ana" in shown and "Why: a storm" in shown and "Resume the flow…" in shown
    assert "wait in line until it is resumed" in page.get("/flows/narrow/start").content.decode()
    shown = page.post("/flows/narrow/resume", {}, follow=True).content.decode()
    assert "Pause the flow…" in shown and not FlowGate.objects.filter(mode="queue").exists()
    assert page.get("/flows/narrow/pause").status_code == 405


def test_who_may_not_operate_sees_no_pause(flow: Any, person: Callable[..., Any], call_as: Any) -> None:
    flow()
    vera = person("vera", "viewer", "team")
    client = Client()
    client.force_login(vera)
    assert "Pause the flow" not in client.get("/flows/narrow").content.decode()
    assert call_as(vera)("POST", "/flows/narrow/pause", {"reason": "a storm"}).status_code == 403


def test_a_start_may_have_a_priority_of_its_own(ana: Caller, flow: Any, page: Client) -> None:
    flow("priority: -2")
    assert ana("POST", "/flows/narrow/runs", {}).json()["priority"] == -2
    assert ana("POST", "/flows/narrow/runs", {"priority": 5}).json()["priority"] == 5
    assert ana("POST", "/flows/narrow/runs", {"priority": 50}).status_code == 422
    page.post("/flows/narrow/start", {"key": "a", "priority": "7"})
    assert Run.objects.filter(priority=7).count() == 1
    wrong = page.post("/flows/narrow/start", {"key": "b", "priority": "77"})
    assert wrong.status_code == 422 and "from -10 to 10" in wrong.content.decode()


# -- the load ---------------------------------------------------------------------------------------------------------
def test_the_load_is_told_by_queue_with_who_serves_it(ana: Caller, flow: Any, page: Client) -> None:
    flow("queue: gpu")
    ana("POST", "/flows/narrow/runs", {})
    Work.objects.update(queue="gpu", wake_at=time.time() - 9)
    load.note("host:1", "host", 3, 1)
    seen = ana("GET", "/system/load").json()
    by_name = {queue["name"]: queue for queue in seen["queues"]}
    assert (by_name["gpu"]["ready"], by_name["gpu"]["workers"], by_name["gpu"]["wanted_workers"]) == (1, 0, 1)
    assert 9 <= by_name["gpu"]["oldest_age"] < 60 and by_name["default"]["workers"] == 3
    assert [(c["host"], c["queues"], c["workers"], c["idle"]) for c in seen["clusters"]] == [
        ("host", ["default"], 3, 1)
    ]
    shown = page.get("/system").content.decode()
    assert "Nobody serves it" in shown and "host:1" in shown and 'href="/system"' in shown
    WorkCluster.objects.update(seen_at=0)
    assert ana("GET", "/system/load").json()["clusters"] == []
    assert "No workers were seen lately" in page.get("/system").content.decode()


def test_the_load_is_for_operators(flow: Any, person: Callable[..., Any], call_as: Any) -> None:
    vera = person("vera", "viewer", "team")
    assert call_as(vera)("GET", "/system/load").status_code == 403
    client = Client()
    client.force_login(vera)
    assert client.get("/system").status_code == 403
    assert 'href="/system"' not in client.get("/").content.decode()


def test_the_keeper_writes_the_load_for_the_supervisor(flow: Any, settings: Any, tmp_path: Any) -> None:
    settings.LOAD_FILE = str(tmp_path / "load.json")
    load.note("host:1", "host", 3, 1)
    assert orchestra.load.write(100.0) == 101.0
    assert read_signal(tmp_path / "load.json", ("default",), time.time()) == Signal()
