"""notify in real runs: retries, what the run page and the API show of deliveries."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from flows.steps.notify import digesting
from resources.models import Notice
from resources.notices import digests
from resources.stop import Stop
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


TOGETHER = """
flow: alarm
steps:
  - id: tell
    for_each: {items: "${{ input.what }}"}
    notify:
      channels: [{connection: mail, to: [ana@example.com]}, {connection: mail, to: [ben@example.com]}]
      title: "${{ item }} is down"
      digest: {key: all, within: 1s}
"""


def test_items_of_a_fan_out_wait_for_one_message_and_the_page_and_the_api_say_so(database: str) -> None:
    get_user_model().objects.create_superuser("ana", password="x")
    client = Client()
    client.force_login(get_user_model().objects.get())

    def shown(run: Run) -> tuple[str, list[Any]]:
        page = client.get(f"/runs/{run.pk}?step=tell").content.decode()
        return page, client.get(f"/api/v1/runs/{run.pk}/deliveries").json()["items"]

    with serving() as server:
        mail_connection(server.port)
        run = run_of(TOGETHER, what=["a", "b", "c"])
        assert run.status == "succeeded" and server.got == []
        page, found = shown(run)
        assert "Waits" in page and "with 3 messages so far: all" in page
        assert {(d["channel"], d["status"], d["digest"]["messages"]) for d in found} == {
            ("mail", "waiting", 3), ("mail#2", "waiting", 3),
        }  # fmt: skip
        later = time.time() + 60
        while (row := digests.claim(later)) is not None:
            digesting.send(row, later, Stop())
        page, found = shown(run)
    assert sorted(server.to) == [["ana@example.com"], ["ben@example.com"]]
    assert "One of 3 messages in one: all" in page
    assert {(d["status"], d["digest"]["due_at"]) for d in found} == {("sent", None)}
