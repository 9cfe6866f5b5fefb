"""Controls over the API: what each answers, what is refused, many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from flows.models import Flow
from runs.models import Run, RunEvent
from runs.worker import Worker
from tests.api.conftest import Caller
from tests.api.test_api import fails
from tests.engine.cluster import make_flow
from tests.engine.test_sagas import DEAD

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ana(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("ana", "operator", "team"))


@pytest.fixture
def dead(ana: Caller, transactional_db: None) -> str:
    flow = make_flow(DEAD)
    Flow.objects.filter(pk=flow.pk).update(folder="team")
    run = ana("POST", "/flows/dead/runs", {"input": {"ok": False}}).json()["id"]
    work()
    return str(run)


def work() -> None:
    worker = Worker("api")
    while worker.work_once():
        pass


def test_a_failed_run_lists_what_can_be_done(ana: Caller, dead: str) -> None:
    found = {(r["control"], r["step"]): r for r in ana("GET", f"/runs/{dead}/recoveries").json()["items"]}
    assert found["retry", None]["allowed"] and found["retry", None]["again"] == ["pick"]
    assert found["retry_from", "a"]["again"] == ["a", "pick", "z"] and found["skip", "pick"]["allowed"]
    assert found["outcome", None] == {
        "control": "outcome", "step": None, "item": None, "allowed": False, "refusal": "no_unknown_outcome",
        "sentence": "No step of this run has an unknown outcome.", "again": [], "asked_again": [], "may_repeat": [],
        "kept": [],
    }  # fmt: skip
    assert found["fork", "pick"]["kept"] == ["a"]


def test_a_run_is_retried_completed_and_copied(ana: Caller, dead: str) -> None:
    assert ana("POST", f"/runs/{dead}/retry", {"reason": "again"}).json()["status"] == "queued"
    work()
    assert ana("POST", f"/runs/{dead}/retry", {"from_step": "a"}).json()["status"] == "queued"
    work()
    assert ana("POST", f"/runs/{dead}/steps/pick/complete", {"output": 3, "reason": "by hand"}).status_code == 200
    work()
    assert ana("GET", f"/runs/{dead}").json()["output"] == {"z": 6}
    replay = ana("POST", f"/runs/{dead}/replay", {"input": {"ok": True}})
    fork = ana("POST", f"/runs/{dead}/fork", {"step": "z", "idempotency_key": "k"})
    assert (replay.status_code, fork.status_code) == (201, 201)
    assert ana("POST", f"/runs/{dead}/fork", {"step": "z", "idempotency_key": "k"}).status_code == 200
    work()
    assert [ana("GET", f"/runs/{r.json()['id']}").json()["status"] for r in (replay, fork)] == ["succeeded"] * 2
    asked = RunEvent.objects.filter(run=dead, type="step.complete_requested").get()
    assert asked.actor == "ana" and asked.data["reason"] == "by hand"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("pause", {}, 409, "run_ended"), ("cancel", {}, 409, "run_ended"), ("terminate", {}, 409, "run_ended"),
        ("retry", {"from_step": "ghost"}, 409, "no_such_step"), ("steps/a/skip", {}, 409, "not_failed"),
        ("steps/pick/outcome", {"outcome": "done"}, 409, "not_failed"),
        ("fork", {"step": "ghost"}, 409, "no_such_step"),
        ("steps/pick/outcome", {"outcome": "maybe"}, 422, "invalid_request"),
        ("replay", {"input": {"ok": 5}}, 422, "invalid_input"),
        ("retry", {"reason": "x" * 1001}, 422, "invalid_request"),
    ],
)  # fmt: skip
def test_what_a_run_does_not_take_is_refused(
    ana: Caller, dead: str, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    fails(ana("POST", f"/runs/{dead}/{path}", body), status, code)


def test_an_output_that_breaks_its_schema_or_is_too_large_is_refused(ana: Caller, dead: str, settings: Any) -> None:
    settings.MAX_INLINE_OUTPUT_BYTES = 100
    body = {"output": "x" * 200}
    fails(ana("POST", f"/runs/{dead}/steps/pick/complete", body), 422, "invalid_output")
    assert Run.objects.get(pk=dead).status == "failed"


def test_many_runs_at_once(ana: Caller, dead: str) -> None:
    found = ana("POST", "/runs/bulk", {"control": "retry", "filter": {"status": "failed"}, "reason": "all"}).json()
    assert [(r["run"], r["done"], r["status"]) for r in found["items"]] == [(dead, True, "queued")]
    work()
    found = ana("POST", "/runs/bulk", {"control": "cancel", "ids": [dead, "nope"]}).json()
    assert [r["code"] for r in found["items"]] == ["run_ended", "run_not_found"]
    fails(ana("POST", "/runs/bulk", {"control": "skip", "ids": [dead]}), 422, "invalid_request")
    fails(ana("POST", "/runs/bulk", {"control": "retry"}), 422, "invalid_request")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(ana: Caller, call_as: Any, person: Any, dead: str) -> None:
    asked = {"ids": [dead, "nope"], "reason": "x", "dry_run": True}
    would = ana("POST", "/runs/bulk", {**asked, "control": "retry"}).json()["items"]
    assert [(r["done"], r["status"], r["code"]) for r in would] == [
        (True, "failed", None),
        (False, None, "run_not_found"),
    ]
    assert ana("POST", "/runs/bulk", {**asked, "control": "pause"}).json()["items"][0]["code"] == "run_ended"
    assert ana("POST", "/runs/bulk", {**asked, "control": "replay"}).json()["items"][0]["done"]
    viewer = call_as(person("vera", "viewer", "team"))
    assert viewer("POST", "/runs/bulk", {**asked, "control": "retry"}).json()["items"][0]["code"] == "not_allowed"
    assert Run.objects.count() == 1 and Run.objects.get().status == "failed"


def test_many_runs_are_named_by_what_the_page_can_filter_and_listed_by_the_same(ana: Caller, dead: str) -> None:
    made = [make_flow(sleeper(slug)) for slug in ("nap-a", "nap-b")]
    Flow.objects.filter(pk__in=[flow.pk for flow in made]).update(folder="team")
    naps = [ana("POST", f"/flows/{flow.slug}/runs", {}).json()["id"] for flow in (*made, *made)]
    Run.objects.filter(pk=dead).update(created_at=0.0)
    asked: list[tuple[dict[str, Any], set[str]]] = [
        ({}, {dead, *naps}), ({"flow": "nap-a"}, {naps[0], naps[2]}), ({"q": "NAP-"}, set(naps)), ({"q": dead}, {dead}),
        ({"group": "failed"}, {dead}), ({"group": "queued", "q": "nap-b"}, {naps[1], naps[3]}),
        ({"status": "failed"}, {dead}), ({"status": "failed", "range": "1h"}, set()), ({"range": "30d"}, set(naps)),
        ({"trigger": "manual"}, {dead, *naps}), ({"trigger": "webhook"}, set()),
        ({"degraded": True}, set()), ({"parent": dead}, set()),
    ]  # fmt: skip
    for filter_, there in asked:
        found = ana("POST", "/runs/bulk", {"control": "cancel", "filter": filter_, "dry_run": True}).json()
        assert {r["run"] for r in found["items"]} == there and found["total"] == len(there), filter_
        query = urlencode({k: "true" if v is True else v for k, v in filter_.items()})
        assert {r["id"] for r in ana("GET", f"/runs?{query}").json()["items"]} == there, filter_
    fails(ana("GET", "/runs?flow=nap-a&flow=nap-b"), 422, "invalid_request")  # not those of the last one only
    for part in ({"group": "sleepy"}, {"range": "2h"}, {"folder": "team"}):
        fails(ana("POST", "/runs/bulk", {"control": "cancel", "filter": part}), 422, "invalid_request")


def test_what_is_more_than_one_request_takes_goes_on_from_where_it_was(
    ana: Caller, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.bulk.MAX_RUNS", 2)
    Flow.objects.filter(pk=make_flow(sleeper("nap")).pk).update(folder="team")
    naps = [ana("POST", "/flows/nap/runs", {}).json()["id"] for _ in range(4)]
    asked: dict[str, Any] = {"control": "cancel", "filter": {"flow": "nap", "until": naps[2]}}
    first = ana("POST", "/runs/bulk", asked).json()
    assert ([r["run"] for r in first["items"]], first["total"]) == ([naps[2], naps[1]], 3)
    asked["filter"]["before"] = first["next_before"]
    second = ana("POST", "/runs/bulk", asked).json()
    assert [r["run"] for r in second["items"]] == naps[:1] and second["next_before"] is None
    assert Run.objects.get(status="queued").pk == naps[3]


def sleeper(slug: str) -> str:
    return f"flow: {slug}\ntitle: t\ntriggers: [manual: {{}}]\nsteps: [{{id: a, sleep: 1h}}]\n"


def test_who_may_only_look_changes_nothing(call_as: Any, person: Any, dead: str) -> None:
    viewer = call_as(person("vera", "viewer", "team"))
    fails(viewer("POST", f"/runs/{dead}/retry", {}), 403, "not_allowed")
    assert viewer("POST", "/runs/bulk", {"control": "retry", "ids": [dead]}).json()["items"][0]["code"] == "not_allowed"
    fails(viewer("POST", f"/runs/{dead}/steps/pick/skip", {}), 403, "not_allowed")
    assert viewer("GET", f"/runs/{dead}/recoveries").status_code == 200
