"""The runners' part of the API: what their tokens open, and all that they do not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.models import Flow
from orchestra.api import api
from resources import artifacts
from runs.actions import start_run
from runs.jobs import tokens
from runs.models import Job, Run, RunnerToken, StepRun
from runs.worker import Worker
from tests.api.conftest import Caller
from tests.engine.cluster import SYSTEM, make_flow
from tests.engine.test_store_queue import drain

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.db_matrix]
Json = Any
CLAIM = {"name": "vm", "labels": ["linux"]}
FLOW = "flow: jobs\nsteps:\n  - id: one\n    job: {labels: [linux], input: {n: 1}}\n"


@pytest.fixture
def run() -> Run:
    flow: Flow = make_flow(FLOW)
    started = start_run(actor=SYSTEM, flow=flow, input={}).run
    drain(Worker("w"))
    return started


@pytest.fixture
def runner() -> Caller:
    return Caller(tokens.create_runner_token(actor=SYSTEM, name="box")[1])


def claimed(runner: Caller) -> Json:
    answer = runner("POST", "/runner/claim", CLAIM)
    assert answer.status_code == 200, answer.content
    return answer.json()["job"]


def test_a_job_from_claim_to_the_end(run: Run, runner: Caller) -> None:
    job = claimed(runner)
    assert (job["input"], job["flow"], job["step"], job["key"]) == ({"n": 1}, "jobs", "one", f"{run.pk}:one:1")
    here = f"/runner/jobs/{job['id']}"
    assert runner("POST", f"{here}/heartbeat", {"fence": 1, "message": "half", "percent": 50}).json() == {
        "cancel": False
    }
    said = runner("POST", f"{here}/logs?fence=1&offset=0", b"hello\n", kind="application/octet-stream")
    assert said.json() == {"size": 6, "full": False}
    left = runner("PUT", f"{here}/artifacts/a.txt?fence=1", b"bytes", kind="text/plain")
    assert artifacts.read(artifacts.get(left.json()["resource"])) == b"bytes"
    for duplicate in (False, True):
        done = runner("POST", f"{here}/complete", {"fence": 1, "output": {"ok": True}})
        assert done.json() == {"state": "done", "duplicate": duplicate}
    assert runner("POST", f"{here}/heartbeat", {"fence": 1}).status_code == 410
    assert runner("POST", f"{here}/complete", {"fence": 2}).status_code == 409
    assert runner("POST", "/runner/claim", CLAIM).json() == {"job": None}
    drain(Worker("w"))
    output = StepRun.objects.get(run=run).output
    assert (output["result"], sorted(output["artifacts"])) == ({"ok": True}, ["a.txt"])


def test_a_claim_that_waits_is_answered_when_a_job_comes(runner: Caller) -> None:
    answer = runner("POST", "/runner/claim", {**CLAIM, "wait": 30})
    assert answer.json() == {"job": None}
    assert answer.later.poll() is None and answer.later.seconds == 30
    start_run(actor=SYSTEM, flow=make_flow(FLOW), input={})
    drain(Worker("w"))
    found = answer.later.poll()
    assert json.loads(found.content)["job"]["step"] == "one"


def operations() -> list[tuple[str, str]]:
    """(method, address) of everything in the description, with ids that fit."""
    paths = api.get_openapi_schema()["paths"]
    return [(method.upper(), re.sub(r"\{[^}]*\}", "1", path)) for path, item in paths.items() for method in item]


def test_a_runner_s_token_opens_its_own_part_and_nothing_else(run: Run, runner: Caller) -> None:
    others = [(m, p.removeprefix("/api/v1")) for m, p in operations() if not p.startswith("/api/v1/runner/")]
    opened = [(m, p) for m, p in others if runner(m, p).status_code not in (401, 404, 405) and "/schemas/" not in p]
    public = [(m, p) for m, p in opened if Caller(None)(m, p).status_code not in (401, 403)]
    assert [found for found in opened if found not in public] == []
    assert len(others) > 60


def test_an_api_token_does_not_open_the_runners_part(run: Run, call_as: Callable[..., Caller], person: Any) -> None:
    admin = call_as(person("root", "admin"))
    own = [(m, p.removeprefix("/api/v1")) for m, p in operations() if p.startswith("/api/v1/runner/")]
    assert len(own) == 7
    assert {admin(m, p).status_code for m, p in own} == {401}
    assert {Caller(None)(m, p).status_code for m, p in own} == {401}


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_token_that_is_no_longer_good_opens_nothing(runner: Caller, how: str) -> None:
    changes = {"revoked": {"revoked_at": 1.0}, "expired": {"expires_at": 1.0}}[how]
    RunnerToken.objects.update(**changes)
    assert runner("POST", "/runner/claim", CLAIM).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "labels": []}, {"name": "a", "labels": ["NO"]}, {"name": "a\0", "labels": []}, {"labels": []},
        {"name": "a", "labels": "linux"}, {"name": "a", "labels": [], "wait": 31}, {"name": "x" * 101, "labels": []},
        b"{", b"\xff", b"[" * 5000,
    ],
)  # fmt: skip
def test_a_claim_of_the_wrong_shape_takes_nothing(run: Run, runner: Caller, body: Json) -> None:
    answer = runner("POST", "/runner/claim", body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]
    assert Job.objects.get().state == "queued"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("heartbeat", {"fence": -1}), ("heartbeat", {"fence": 1, "percent": 101}), ("complete", {"fence": 2**40}),
        ("fail", {"fence": 1, "class": "lost"}), ("complete", b'{"fence": 1, "output": NaN}'), ("complete", b"\xff{"),
        ("complete", {"fence": 1, "output": "x" * 1_100_000}), ("fail", {"fence": 1, "message": "x" * 10_001}),
    ],
)  # fmt: skip
def test_what_no_runner_should_say_leaves_the_job_as_it_is(run: Run, runner: Caller, path: str, body: Json) -> None:
    job = claimed(runner)
    answer = runner("POST", f"/runner/jobs/{job['id']}/{path}", body)
    assert answer.status_code in (400, 413, 422)
    assert Job.objects.get().state == "claimed"


def test_people_see_runners_jobs_and_tokens_and_admins_make_them(
    run: Run, call_as: Callable[..., Caller], person: Any
) -> None:
    admin, viewer = call_as(person("root", "admin")), call_as(person("vera", "viewer"))
    assert viewer("GET", "/jobs").json()["items"][0]["no_runner"] is True
    assert viewer("GET", f"/runs/{run.pk}").json()["steps"][0]["held_by"] == "no runner with labels linux"
    assert viewer("POST", "/runner-tokens", {"name": "x"}).status_code == 403
    made = admin("POST", "/runner-tokens", {"name": "box", "labels": ["linux"]}).json()
    assert made["token"].startswith(made["prefix"])
    claimed(Caller(made["token"]))
    seen = viewer("GET", "/runners").json()["items"][0]
    assert (seen["name"], seen["away"], len(seen["jobs"])) == ("vm", False, 1)
    assert viewer("GET", "/jobs").json()["items"][0]["runner"] == "vm"
    assert made["token"] not in admin("GET", "/runner-tokens").content.decode()
    assert admin("DELETE", f"/runner-tokens/{made['id']}").status_code == 204
    assert Caller(made["token"])("POST", "/runner/claim", CLAIM).status_code == 401


def test_the_page_of_nobody_is_not_the_runners(runner: Caller) -> None:
    answer = Client().get("/runs", headers={"Authorization": runner.headers["Authorization"]})
    assert answer.status_code == 302
