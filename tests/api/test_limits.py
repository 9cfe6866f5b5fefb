"""API v1: a connection's limits, their state, the breaker by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.models import Flow
from resources.models import AuditEntry, Connection, ConnectionLimit, Permit
from runs import permits
from runs.models import Run, Work
from tests.api.conftest import Caller
from tests.api.test_api import fails

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
URL = {"base_url": "https://ci.example.com"}
LIMITS = {
    "concurrency": 5,
    "rate": {"count": 10, "per": "minute", "burst": 2},
    "breaker": {"failures": 3, "window": 30.0, "on_open": "fallback"},
    "adaptive": {"min": 1, "latency": 2.5},
}


@pytest.fixture
def ci() -> Connection:
    permits.forget()
    return Connection.objects.create(name="ci", kind="http", settings=URL)


@pytest.fixture
def root(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("root", "admin", ""))


def test_limits_are_set_read_and_taken_away_and_leave_the_version_alone(root: Caller, ci: Connection) -> None:
    assert root("GET", "/connections/ci/limits").json()["limits"] is None
    made = root("PUT", "/connections/ci/limits", LIMITS)
    assert made.status_code == 200
    found = root("GET", "/connections/ci/limits").json()
    assert found["limits"]["breaker"]["open_for"] == 30.0 and found["limits"]["concurrency"] == 5
    assert (found["concurrency"], found["in_use"], found["waiting"], found["tokens"]) == (5, 0, 0, 2.0)
    assert found["breaker"]["state"] == "closed"
    assert root("PUT", "/connections/ci/limits", {}).json()["limits"] is None
    ci.refresh_from_db()
    assert ci.version == 1 and ci.settings.get("limits") is None
    actions = list(AuditEntry.objects.order_by("seq").values_list("action", flat=True))
    assert actions[-2:] == ["connection.updated"] * 2


@pytest.mark.parametrize(
    ("body", "path"),
    [({"concurrency": 0}, "/concurrency"), ({"speed": 1}, "/speed"), ({"adaptive": {}}, "/adaptive"),
     ({"rate": {"count": "many"}}, "/rate/count"), ([], "")],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused_with_their_place(
    root: Caller, ci: Connection, body: Any, path: str
) -> None:
    error = fails(root("PUT", "/connections/ci/limits", body), 422, "invalid_request")
    assert path in error["details"][0]["path"]


def test_the_breaker_is_switched_by_hand_with_a_reason_and_audited(root: Caller, ci: Connection) -> None:
    opened = root("POST", "/connections/ci/circuit", {"state": "open", "reason": "upkeep"}).json()
    assert opened["breaker"]["state"] == "open" and opened["breaker"]["probe_at"] is None
    assert (opened["breaker"]["by"], opened["breaker"]["reason"]) == ("root", "upkeep")
    assert "ci" in permits.limited(), "workers ask, though it has no limits of its own"
    root("POST", "/connections/ci/circuit", {"state": "open", "reason": "again"})
    closed = root("POST", "/connections/ci/circuit", {"state": "closed", "reason": "done"}).json()
    assert closed["breaker"]["state"] == "closed" and not ConnectionLimit.objects.exists()
    entries = AuditEntry.objects.filter(action__startswith="circuit.").order_by("seq")
    assert [(e.action, e.data["reason"]) for e in entries] == [("circuit.opened", "upkeep"), ("circuit.closed", "done")]
    for reason in ("", "   ", "x" * 501):
        fails(root("POST", "/connections/ci/circuit", {"state": "open", "reason": reason}), 422, "invalid_request")


def test_only_admins_change_limits_and_see_whose_steps_wait(
    root: Caller, call_as: Callable[[Any], Caller], person: Callable[..., Any], ci: Connection
) -> None:
    why = "connection ci: 1 at a time"
    Permit.objects.create(connection=ci, run_id="0" * 26, step="a", item=-1, since=1.0, why=why)
    viewer, nobody = call_as(person("vera", "viewer", "team")), call_as(person("otto"))
    seen = viewer("GET", "/connections/ci/limits").json()
    assert seen["waiting"] == 1 and seen["held"] == []
    assert root("GET", "/connections/ci/limits").json()["held"][0]["why"] == why
    fails(viewer("PUT", "/connections/ci/limits", {}), 403, "not_allowed")
    fails(viewer("POST", "/connections/ci/circuit", {"state": "open", "reason": "x"}), 403, "not_allowed")
    fails(nobody("GET", "/connections/ci/limits"), 403, "not_allowed")
    fails(root("GET", "/connections/gone/limits"), 404, "connection_not_found")


def test_a_run_says_what_holds_its_steps(
    call_as: Callable[[Any], Caller], person: Callable[..., Any], live_flow: Flow
) -> None:
    person("ana", "operator", "team")
    ana = call_as(person("ana", "author", "team"))
    run = ana("POST", "/flows/greet/runs", {"input": {"name": "x"}}).json()
    step = run["steps"][0]["id"]
    assert run["steps"][0]["held_by"] is None
    Work.objects.create(run_id=run["id"], kind="step", step=step, held_by="connection ci: 2 at a time")
    assert ana("GET", f"/runs/{run['id']}").json()["steps"][0]["held_by"] == "connection ci: 2 at a time"
    assert ana("GET", "/runs").json()["items"][0]["steps"][0]["held_by"] == "connection ci: 2 at a time"
    Run.objects.filter(pk=run["id"]).update(status="failed")
    assert ana("GET", f"/runs/{run['id']}").json()["steps"][0]["held_by"] is None
