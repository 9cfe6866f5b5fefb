"""What a runner says is masked like what any step gives: the secrets of its run's release, and its own token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from resources import artifacts, backends, connections, secrets
from runs.actions import start_run
from runs.jobs import tokens
from runs.jobs.models import Job, JobLog
from runs.models import Run, RunEvent, StepRun
from runs.worker import Worker
from tests.api.conftest import Caller
from tests.engine.cluster import SYSTEM, make_flow
from tests.engine.test_store_queue import drain

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.db_matrix]
Json = Any
SECRET = "correct horse/battery+staple"
FLOW = """
flow: jobs
steps:
  - id: one
    job: {labels: [linux]}
    retry: {max_attempts: 1}
  - id: told
    when: failure
    timeout: 5s
    http: {connection: shop, method: POST}
"""
RAW = "application/octet-stream"


@pytest.fixture
def plain() -> str:
    return tokens.create_runner_token(actor=SYSTEM, name="box")[1]


@pytest.fixture
def runner(plain: str) -> Caller:
    return Caller(plain)


@pytest.fixture
def job(runner: Caller) -> Json:
    secrets.set_secret(actor=SYSTEM, name="shop-key", value=SECRET)
    settings = {"base_url": "https://api.example.com", "auth": {"type": "bearer", "secret": "shop-key"}}
    connections.create_connection(actor=SYSTEM, name="shop", kind="http", settings=settings)
    start_run(actor=SYSTEM, flow=make_flow(FLOW), input={})
    drain(Worker("w"))
    found = runner("POST", "/runner/claim", {"name": "vm", "labels": ["linux"]}).json()["job"]
    return {**found, "here": f"/runner/jobs/{found['id']}"}


def say(runner: Caller, job: Json, *pieces: bytes) -> None:
    offset = 0
    for piece in pieces:
        answer = runner("POST", f"{job['here']}/logs?fence=1&offset={offset}", piece, kind=RAW)
        offset += len(piece)
        assert answer.json()["size"] == offset, answer.content


def everything_kept() -> str:
    """All that is stored of the job but resources, as text."""
    pieces = b"".join(bytes(row.data) for row in JobLog.objects.order_by("offset")).decode(errors="replace")
    rows = [*Job.objects.values("result", "progress", "log", "artifacts"), *StepRun.objects.values("live", "output")]
    events, runs = RunEvent.objects.values_list("data", flat=True), Run.objects.values("output", "error")
    return pieces + json.dumps([rows, list(events), list(runs)], default=str)


def leaks(text: str, *values: str) -> list[str]:
    forms = [form for v in values for form in (v, base64.b64encode(v.encode()).decode()[:-4], v[: len(v) // 2 + 1])]
    return [form for form in forms if form in text]


@pytest.mark.parametrize("at", [1, 4, 14, len(SECRET) - 1])
def test_a_value_cut_by_the_border_of_two_pieces_is_masked_in_the_log_and_on_the_page(
    runner: Caller, job: Json, at: int
) -> None:
    text = f"key={SECRET}; again".encode()
    say(runner, job, text[: 4 + at], text[4 + at :])
    assert leaks(everything_kept(), SECRET) == []
    assert StepRun.objects.get(step="one").live["tail"] == "key=•••; again"
    runner("POST", f"{job['here']}/complete", {"fence": 1})
    drain(Worker("w"))
    log = StepRun.objects.get(step="one").output["log"]
    assert artifacts.read(artifacts.get(log["$res"])).decode() == "key=•••; again"


def test_what_is_held_back_comes_at_the_end_and_lies_sealed_until_then(runner: Caller, job: Json) -> None:
    half = SECRET[:14]
    say(runner, job, f"it ends with {half}".encode())
    row = Job.objects.get()
    assert half not in everything_kept() and half.encode() not in bytes(row.held) and row.held
    runner("POST", f"{job['here']}/complete", {"fence": 1})
    log = Job.objects.get().log["$res"]
    assert artifacts.read(artifacts.get(log)).decode() == f"it ends with {half}"


def test_outputs_messages_files_and_errors_are_masked(runner: Caller, job: Json, plain: str) -> None:
    coded = base64.b64encode(SECRET.encode()).decode()
    runner("POST", f"{job['here']}/heartbeat", {"fence": 1, "message": f"with {SECRET}"})
    assert Job.objects.get().progress["message"] == "with •••"
    left = runner("PUT", f"{job['here']}/artifacts/env.txt?fence=1", f"{SECRET} {coded} {plain}".encode(), kind=RAW)
    assert leaks(artifacts.read(artifacts.get(left.json()["resource"])).decode(), SECRET, plain) == []
    runner("POST", f"{job['here']}/complete", {"fence": 1, "output": {SECRET: [coded, plain]}})
    drain(Worker("w"))
    assert leaks(everything_kept(), SECRET, plain) == []


def test_the_message_of_a_failure_is_masked(runner: Caller, job: Json, plain: str) -> None:
    runner("POST", f"{job['here']}/fail", {"fence": 1, "message": f"no: {SECRET} {plain}", "retry": False})
    drain(Worker("w"))
    assert leaks(everything_kept(), SECRET, plain) == []
    assert Job.objects.get().result["error"]["message"] == "no: ••• •••"


def test_a_secret_that_cannot_be_had_now_is_waited_for_and_one_that_is_gone_is_not(
    runner: Caller, job: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(name: str) -> list[str]:
        raise backends.errors.Unreachable("Vault does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(secrets, "reveal_all", unreachable)
        assert runner("POST", f"{job['here']}/logs?fence=1&offset=0", b"x", kind=RAW).status_code == 503
        assert runner("POST", f"{job['here']}/complete", {"fence": 1}).status_code == 503
        assert runner("POST", f"{job['here']}/heartbeat", {"fence": 1, "message": "on"}).json() == {"cancel": False}
    assert (Job.objects.get().state, JobLog.objects.count()) == ("claimed", 0)

    def gone(name: str) -> list[str]:
        raise backends.errors.Refused("There is nothing.")

    monkeypatch.setattr(secrets, "reveal_all", gone)
    say(runner, job, b"x")
    assert runner("POST", f"{job['here']}/complete", {"fence": 1}).json()["state"] == "done"
