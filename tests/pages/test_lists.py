"""The lists: a fixed number of queries however many rows, nobody sees a folder without a grant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.pages import seed

SignIn = Callable[[str], Client]
pytestmark = pytest.mark.db_matrix


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as caught:
        assert client.get(path).status_code == 200
    return len(caught)


@pytest.mark.parametrize("path", ["/", "/runs", "/inbox"])
def test_a_list_asks_as_many_queries_for_many_rows_as_for_few(
    path: str, sign_in: SignIn, place: dict[str, Any]
) -> None:
    client = sign_in("ana")
    queries(client, path)  # the plan of each release is read once a process
    few = queries(client, path)
    for n in range(6):
        story = seed.Story(place["main"].run.flow, age=100 + n).to_approval()
        seed.vote(seed.ask(story, title=f"More {n}"), place["people"]["jonas"])
    assert queries(client, path) == few <= 22


def test_the_page_of_a_run_asks_as_many_queries_for_a_long_history_as_for_a_short_one(
    sign_in: SignIn, place: dict[str, Any]
) -> None:
    client, story = sign_in("ana"), place["running"]
    queries(client, f"/runs/{story.run.pk}")
    few = queries(client, f"/runs/{story.run.pk}")
    for n in range(40):
        story.event(5 + n, "step.log", "build", lines=[f"line {n}"])
    assert queries(client, f"/runs/{story.run.pk}") == few <= 18


@pytest.mark.parametrize("path", ["/runs", "/inbox", "/"])
def test_somebody_without_a_grant_on_the_folder_sees_nothing_of_it(path: str, sign_in: SignIn) -> None:
    page = sign_in("otto").get(path).content.decode()
    assert "release-service" not in page
    assert "payments-api" not in page
    assert "Refund batch" not in page


@pytest.mark.parametrize("name", ["waiting", "main"])
def test_somebody_without_a_grant_on_the_folder_finds_no_run_and_no_request(
    name: str, sign_in: SignIn, place: dict[str, Any]
) -> None:
    path = f"/runs/{place['waiting'].run.pk}" if name == "waiting" else f"/approvals/{place['main'].pk}"
    assert sign_in("otto").get(path).status_code == 404
    assert sign_in("ana").get(path).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/runs", "/runs/x", "/inbox", "/approvals/x"])
def test_a_stranger_is_sent_to_sign_in(path: str, client: Client) -> None:
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login?next=")


def test_pages_of_runs_show_each_run_once(sign_in: SignIn, place: dict[str, Any]) -> None:
    client, path, seen = sign_in("ana"), "/runs", []
    while path:
        page = client.get(path)
        seen += [r["id"] for r in page.context["rows"]]
        path = f"/runs{page.context['next']}" if page.context["next"] else ""
    assert len(seen) == len(set(seen)) == page.context["chips"][0]["n"]
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("status", ["running", "human", "paused", "failed", "succeeded", "cancelled", "queued"])
def test_a_chip_counts_what_its_list_shows(status: str, sign_in: SignIn) -> None:
    page = sign_in("ana").get(f"/runs?status={status}")
    chip = next(c for c in page.context["chips"] if c["state"] == status)
    assert chip["n"] == len(page.context["rows"]) > 0 or page.context["next"]
    assert {r["state"] for r in page.context["rows"]} == {status}


def test_runs_are_found_by_flow_trigger_and_text(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    assert {r["flow"] for r in client.get("/runs?flow=refund-batch").context["rows"]} == {"refund-batch"}
    assert {r["trigger"]["icon"] for r in client.get("/runs?trigger=manual").context["rows"]} == {"user"}
    found = client.get(f"/runs?q={place['failed'].run.pk}").context["rows"]
    assert [r["id"] for r in found] == [place["failed"].run.pk]
    assert "No runs matching “zzz”" in client.get("/runs?q=zzz").content.decode()


def test_a_refresh_of_the_runs_keeps_the_rows_and_counts_the_new_ones(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    before = client.get("/runs")
    seed.Story(place["main"].run.flow, age=0)
    after = client.get(f"/runs{before.context['live_src']}", headers={"HX-Request": "true", "HX-Target": "runs-live"})
    assert [r["id"] for r in after.context["rows"]] == [r["id"] for r in before.context["rows"]]
    assert after.context["new"] == 1
    assert "<html" not in after.content.decode()


def test_a_refresh_of_the_inbox_moves_no_row_and_counts_the_new_ones(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    before = client.get("/inbox").context
    urgent = place["urgent"]
    urgent.status, urgent.closed_at = "rejected", before["at"] + 1
    urgent.save(update_fields=["status", "closed_at"])
    seed.ask(seed.Story(place["main"].run.flow, age=50).to_approval(), title="Brand new", age=-2, expires=60)
    headers = {"HX-Request": "true", "HX-Target": "inbox-live"}
    after = client.get(f"/inbox?at={before['at']}", headers=headers)
    assert [i["id"] for i in after.context["yours"]] == [i["id"] for i in before["yours"]]
    assert next(i for i in after.context["yours"] if i["id"] == urgent.pk)["state"] == "cancelled"
    assert "1 new request" in after.content.decode()
    assert "Brand new" not in after.content.decode()
    assert "Brand new" in client.get("/inbox").content.decode()


@pytest.mark.django_db
def test_an_empty_inbox_shows_a_new_request_at_once() -> None:
    cast = seed.people()
    client = Client()
    client.force_login(cast["ana"])
    before = client.get("/inbox").context
    assert "Nothing needs you" in client.get("/inbox").content.decode()
    seed.ask(seed.Story(seed.flow(), age=50).to_approval(), title="Brand new", age=-1)
    headers = {"HX-Request": "true", "HX-Target": "inbox-live"}
    assert "Brand new" in client.get(f"/inbox?at={before['at']}", headers=headers).content.decode()
