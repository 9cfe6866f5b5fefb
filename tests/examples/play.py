"""Playing an example: released as it stands, carried on by a worker, decided over the API by a person."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from flows.actions import create_flow, release_draft
from flows.definition.lint import lint
from flows.known import known_names
from flows.models import Flow
from flows.offers import BY_NAME
from resources.access import Actor
from resources.grants import grant_role
from resources.tokens import create_token
from runs.models import Run, StepRun
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, check_fold
from tests.engine.test_store_queue import drain

Json = Any


def release(name: str, *, sooner: dict[str, str] | None = None) -> Flow:
    """The example as it is offered, without a word from lint; `sooner` shortens its pauses, for the test."""
    text = BY_NAME[name].source(slug=name, title=name, folder="ops")
    assert [p.to_json() for p in lint(text, known=known_names())] == []
    for long, short in (sooner or {}).items():
        assert long in text
        text = text.replace(long, short)
    create_flow(actor=SYSTEM, source=text)
    release_draft(actor=SYSTEM, slug=name, version="1.0.0", live=True)
    return Flow.objects.get(slug=name)


def carry_on(run: str, until: Callable[[], Any] | None = None, seconds: float = 40.0) -> Run:
    """A worker does what is due until the run has ended, or `until` holds."""
    end = time.monotonic() + seconds
    while True:
        drain(Worker("w"))
        row = Run.objects.get(pk=run)
        if until() if until else row.ended_at is not None:
            check_fold(run)
            return row
        assert time.monotonic() < end, (row.status, statuses(run))
        time.sleep(0.05)


def statuses(run: str) -> dict[str, str]:
    return dict(StepRun.objects.filter(run_id=run).values_list("step", "status"))


def output(run: str, step: str) -> Json:
    return StepRun.objects.get(run_id=run, step=step).output


class Person:
    """Somebody with a token and a role on the folder of the examples."""

    def __init__(self, name: str, role: str) -> None:
        self.user = User.objects.create_user(name)
        grant_role(actor=SYSTEM, role=role, folder="ops", user=self.user)
        _, plain = create_token(actor=Actor.of_user(self.user), user=self.user, name="test")
        self.client = Client(headers={"Authorization": f"Bearer {plain}"})

    def get(self, path: str) -> Json:
        answer = self.client.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.content
        return answer.json()

    def post(self, path: str, body: Json) -> Json:
        answer = self.client.post(f"/api/v1{path}", body, content_type="application/json")
        assert answer.status_code < 300, answer.content
        return answer.json()

    def start(self, flow: Flow, **input_: Json) -> str:
        return str(self.post(f"/flows/{flow.slug}/runs", {"input": input_})["id"])

    def asked(self, run: str) -> Json:
        """The open request of the run, which a worker reaches first."""

        def found() -> list[Json]:
            return [one for one in self.get("/approvals?status=open")["items"] if one["run"] == run]

        carry_on(run, found)
        return found()[0]

    def decide(self, request: Json, decision: str, **form: Json) -> None:
        """With a form that changes what will be done, the first answer is its digest: an approval is of that."""
        path = f"/approvals/{request['id']}/decisions"
        said = {"decision": decision, "digest": request["digest"], "comment": "Looked at it.", "form": form or None}
        answer = self.client.post(f"/api/v1{path}", said, content_type="application/json")
        if form and answer.status_code == 409:
            said["digest"] = answer.json()["error"]["details"]["digest"]
            self.post(path, said)
        else:
            assert answer.status_code == 200, answer.content
