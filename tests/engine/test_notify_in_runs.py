"""notify in real runs: retries, what the run page and the API show of deliveries."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from resources.models import Notice
from runs.models import Run
from tests.engine.test_outcomes_in_runs import run_of, step_of
from tests.families.mailserver import serving
from tests.families.test_notify import mail_connection

pytestmark = pytest.mark.django_db(transaction=True)

FLOW = """
flow: report
steps:
  - id: tell
    notify: {connection: mail, to: [ana@example.com], people: {users: [ana]}, title: "Report of ${{ input.what }}"MUST}
    retry: {max_attempts: 2, initial: 1ms}
    timeout: 5s
  - id: after
    function: {code: "1"}
"""


def _run(must: str = "", **box: Any) -> tuple[Run, int]:
    get_user_model().objects.create_superuser("ana", password="x")
    with serving() as server:
        for name, value in box.items():
            setattr(server, name, value)
        mail_connection(server.port)
        return run_of(FLOW.replace("MUST", must), what="today"), len(server.got)


def test_a_server_that_says_later_is_asked_again_and_people_are_told_once(database: str) -> None:
    run, got = _run(says=["451 later", "250 taken"])
    assert (run.status, got, Notice.objects.count()) == ("succeeded", 1, 1)
    tell = step_of(run, "tell")
    assert [(c["kind"], c["status"]) for c in tell.output["channels"]] == [("in_app", "sent"), ("smtp", "sent")]


def test_when_the_attempts_are_spent_the_run_goes_on_and_page_and_api_say_what_failed(database: str) -> None:
    run, got = _run(says=["451 later", "451 later"])
    assert (run.status, got) == ("succeeded", 0)
    assert step_of(run, "tell").output["failed"] == 1
    client = Client()
    client.force_login(get_user_model().objects.get())
    page = client.get(f"/runs/{run.pk}?step=tell").content.decode()
    assert "Deliveries" in page and "451 later" in page
    found = client.get(f"/api/v1/runs/{run.pk}/deliveries").json()["items"]
    assert {(d["channel"], d["status"]) for d in found} == {(None, "sent"), ("mail", "failed")}


def test_with_must_it_fails_the_run(database: str) -> None:
    run, _ = _run(", must: true", refuses={"ana@example.com": "550 no"})
    assert run.status == "failed"
    assert step_of(run, "tell").state["error"]["class"] == "refused"
