"""Jobs on another machine in whole runs: the agent that calls back, a killed worker, a cancelled run."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals.actions import decide_request
from approvals.models import ApprovalRequest
from flows.offers import BY_NAME
from resources import artifacts
from resources.access import Actor
from resources.connections import create_connection
from resources.grants import grant_role
from resources.secrets import set_secret
from runs.actions import cancel_run
from runs.models import Run, RunEvent, StepRun
from tests.engine.cluster import SYSTEM, Cluster, begin, check_fold, ended, holder, make_flow, wait_until
from tests.families import sshd

AGENT = """#!/bin/sh
echo "worked on: $(cat)"
echo once >> "$HOME/begun"
while [ ! -e "$HOME/go" ]; do sleep 0.05; done
echo done
"""


@pytest.fixture
def server(database: str, tmp_path: Any) -> Iterator[sshd.Sshd]:
    with sshd.serve(tmp_path / "sshd") as running:
        for name, text in (("run-agent", AGENT), ("publish-result", '#!/bin/sh\necho "$@" >> "$HOME/published"\n')):
            program = running.home / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        set_secret(actor=SYSTEM, name="ssh-key", value=running.private_key)
        create_connection(actor=SYSTEM, name="vm", kind="ssh", settings=running.settings())
        yield running


class Front(http.server.BaseHTTPRequestHandler):
    """Takes callbacks for the test, which passes them on: only it is connected to the database."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def front() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front) as running:
        running.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def approve() -> None:
    user = User.objects.create_user("rita")
    grant_role(actor=SYSTEM, role="reviewer", folder="", user=user)
    request = ApprovalRequest.objects.get()
    decide_request(actor=Actor.of_user(user, ""), request_id=str(request.pk), verdict="approve", digest=request.digest)


def status(step: str) -> str:
    return str(StepRun.objects.filter(step=step).values_list("status", flat=True).first() or "")


def test_an_agent_on_a_machine_calls_back_is_collected_approved_and_published(
    database: str, server: sshd.Sshd, front: Any
) -> None:
    flow = make_flow(BY_NAME["agent"].source(slug="agent", title="Agent", folder=""))
    with Cluster(database, workers=1, PUBLIC_URL=f"http://127.0.0.1:{front.server_port}"):
        run = begin(flow, task="tidy $(up)")
        wait_until(lambda: status("done") == "waiting" and (server.home / "begun").exists())
        (server.home / "go").touch()
        path, body = wait_until(lambda: front.got)[0]
        assert Client().post(path, body, content_type="application/json").status_code == 202
        wait_until(lambda: ApprovalRequest.objects.exists())
        approve()
        wait_until(lambda: ended([run]))
    assert Run.objects.get(pk=run).status == "succeeded"
    job = StepRun.objects.get(step="agent").output["job"]
    assert StepRun.objects.get(step="done").output["exit_code"] == 0
    kept = StepRun.objects.get(step="result").output["stdout"]["$res"]
    assert artifacts.read(artifacts.get(kept)) == b"worked on: tidy $(up)\ndone\n"
    assert (server.home / "published").read_text() == f"--job {job}\n"
    check_fold(run)


FOLLOW = """
flow: follow
title: Follow
steps:
  - id: start
    ssh: {connection: vm, command: [run-agent], detached: true}
    compensate: {ssh: {connection: vm, job: "${{ steps.start.output.job }}", action: cancel}}
  - id: follow
    ssh: {connection: vm, job: "${{ steps.start.output.job }}", action: collect, follow: true}
    timeout: 60s
"""


def test_a_job_outlives_its_killed_worker_but_not_a_run_that_undoes_it(database: str, server: sshd.Sshd) -> None:
    flow = make_flow(FOLLOW)
    with Cluster(database, workers=2) as cluster:
        run = begin(flow)
        # the two are shown when they are there: first one, or both at once
        wait_until(lambda: shown_of(run).get("tail") == "worked on: \n")
        wait_until(lambda: shown_of(run).get("checkpoint", {}).get("shown") == [12, 0])
        cluster.kill(wait_until(lambda: holder(run, "follow")))
        wait_until(lambda: attempt_of(run, "follow") == 2)
        (server.home / "go").touch()
        wait_until(lambda: ended([run]))
        (server.home / "go").unlink()
        undone = begin(flow)
        wait_until(lambda: shown_of(undone))
        cancel_run(actor=SYSTEM, run_id=undone, reason="enough")
        wait_until(lambda: ended([undone]))
    assert StepRun.objects.get(run_id=run, step="follow").output["stdout"] == "worked on: \ndone\n"
    assert (server.home / "begun").read_text() == "once\n" * 2  # each run its own job, and the killed one no second
    assert RunEvent.objects.filter(type="step.lost").count() == 1
    job = server.home / ".orchestra" / "jobs" / StepRun.objects.get(run_id=undone, step="start").output["job"]
    assert (job / "exit").read_text().strip() in ("143", "137")
    assert {r.pk: r.status for r in Run.objects.all()} == {run: "succeeded", undone: "cancelled"}
    check_fold(run)
    check_fold(undone)


def shown_of(run: str) -> Any:
    """What is shown of the step that follows the job, while it does."""
    return (row_of(run, "follow") or StepRun()).live or {}


def row_of(run: str, step: str) -> StepRun | None:
    return StepRun.objects.filter(run_id=run, step=step).first()


def attempt_of(run: str, step: str) -> int:
    row = row_of(run, step)
    return row.attempt if row else 0
