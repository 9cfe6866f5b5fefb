"""Dead letters, replays and the quarantine over the API; what webhooks are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.models import Flow
from resources.access import Actor
from runs import clock
from runs.dead import duty
from runs.dead.quarantine import quarantine_input
from runs.models import Run
from tests.api.conftest import Caller, author, call_as, forget_plans, github_secret, live_flow, person, source
from tests.api.test_api import fails
from tests.api.test_hooks import deliver
from tests.dead.story import breaking, dead

__all__ = ["author", "call_as", "forget_plans", "github_secret", "live_flow", "person", "source"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ana(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("ana", "operator", "payments"))


def test_dead_letters_with_their_groups(ana: Caller) -> None:
    one, two = dead(breaking(), 2)
    dead(breaking("hidden", "secret"))
    found = ana("GET", "/dead-letters?limit=1&flow=breaks").json()
    (item,) = found["items"]
    assert item["run"] == two and item["error"]["step"] == "think" and item["attempts"] >= 1
    assert found["total"] == 2 and [g["count"] for g in found["classes"]] == [2]
    assert [(g["name"], g["count"]) for g in found["flows"]] == [("breaks", 2)]
    rest = ana("GET", f"/dead-letters?limit=1&cursor={found['next_cursor']}").json()
    assert [i["run"] for i in rest["items"]] == [one] and rest["next_cursor"] is None
    assert ana("GET", "/dead-letters?until=2020-01-01T00:00:00Z").json()["total"] == 0
    fails(ana("GET", "/dead-letters?since=yesterday"), 422, "bad_input")


def test_a_replay_is_counted_started_watched_and_aborted(ana: Caller) -> None:
    dead(breaking(), 3)
    assert ana("POST", "/dead-letters/count", {"flow": "breaks"}).json()["count"] == 3
    assert Run.objects.filter(status="failed").count() == 3
    body = {"filter": {"flow": "breaks"}, "mode": "retry", "reason": "mended", "rate": 1}
    started = ana("POST", "/dead-letters/replays", body)
    assert started.status_code == 202 and started.json()["total"] == 3
    path = f"/dead-letters/replays/{started.json()['id']}"
    duty.step(started.json()["id"], clock.now())
    assert ana("GET", path).json()["done"] == 1
    runs = ana("GET", f"{path}/runs?limit=2").json()
    assert [(r["status"], r["run_status"]) for r in runs["items"]] == [("done", "queued"), ("pending", None)]
    more = ana("GET", f"{path}/runs?cursor={runs['next_cursor']}").json()
    assert [r["status"] for r in more["items"]] == ["pending"]
    assert ana("POST", f"{path}/abort", {"reason": "enough"}).json()["status"] == "aborted"
    fails(ana("POST", f"{path}/abort"), 409, "replay_ended")
    assert [r["id"] for r in ana("GET", "/dead-letters/replays").json()["items"]] == [started.json()["id"]]
    fails(ana("POST", "/dead-letters/replays", {**body, "filter": {"flow": "none"}}), 409, "nothing_to_replay")
    fails(ana("GET", "/dead-letters/replays/999999"), 404, "replay_not_found")


def test_letters_are_dismissed_each_with_its_result(ana: Caller) -> None:
    (run,) = dead(breaking())
    found = ana("POST", "/dead-letters/dismiss", {"ids": [run, "x"], "reason": "known"}).json()["items"]
    assert [(r["run"], r["done"], r["code"]) for r in found] == [(run, True, None), ("x", False, "run_not_found")]
    assert ana("GET", "/dead-letters").json()["total"] == 0


def test_an_input_is_quarantined_refused_and_released(ana: Caller, call_as: Any, person: Any) -> None:
    (run,) = dead(breaking(), n=1)
    row = ana("POST", "/quarantine", {"run": run, "reason": "eats the disk"}).json()
    fails(ana("POST", "/quarantine", {"run": run, "reason": "again"}), 409, "already_quarantined")
    error = fails(ana("POST", "/flows/breaks/runs", {"input": {"n": 1}}), 409, "quarantined")
    assert "eats the disk" in str(error) and ana("POST", "/flows/breaks/runs", {"input": {"n": 2}}).status_code == 201
    assert [q["id"] for q in ana("GET", "/quarantine?flow=breaks").json()["items"]] == [row["id"]]
    other = call_as(person("otto", "operator", "elsewhere"))
    fails(other("GET", f"/quarantine/{row['id']}"), 404, "quarantine_not_found")
    assert ana("POST", f"/quarantine/{row['id']}/release", {"reason": "mended"}).json()["released_by"] == "ana"
    assert ana("POST", "/flows/breaks/runs", {"input": {"n": 1}}).status_code == 201
    assert ana("GET", "/quarantine").json()["items"] == []
    assert len(ana("GET", "/quarantine?released=true").json()["items"]) == 1


def test_a_webhook_of_a_quarantined_input_is_told_so_but_a_repeat_gets_its_run(client: Client, live_flow: Flow) -> None:
    body = {"action": "published", "name": "Ada"}
    first = deliver(client, body)
    quarantine_input(actor=Actor.system("test"), run_id=first.json()["run"], reason="eats the disk")
    assert deliver(client, body).json()["status"] == "duplicate"
    answer = deliver(client, body, delivery="d-2")
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "quarantined"
    assert "eats the disk" in answer.json()["error"]["message"] and Run.objects.count() == 1
