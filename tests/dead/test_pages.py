"""The pages of dead letters, replays and the quarantine: what they show, and what their forms do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.dead import duty
from runs.models import Quarantine, ReplayBatch, Run
from tests.pages import seed

pytestmark = pytest.mark.django_db
SignIn = Callable[[str], Client]


def words(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


@pytest.fixture(autouse=True)
def one_letter(place: dict[str, Any]) -> None:
    """Of the seeded workspace, one run is a dead letter."""
    Run.objects.exclude(pk=place["failed"].run.pk).update(dead_at=None)


def undone(run: Run) -> None:
    """Its undoing began, and one step's failed."""
    where = {"step": "build", "item": None}
    ending = {"undone": [where], "not_undone": [{"step": "deploy", "item": 2, "error": {}}]}
    Run.objects.filter(pk=run.pk).update(control={"ending": ending})


def test_the_list_names_error_step_attempts_and_what_was_not_undone(sign_in: SignIn, place: dict[str, Any]) -> None:
    run = place["failed"].run
    undone(run)
    page = sign_in("ana").get("/dead-letters")
    text = words(page)
    for shown in ("Replay all 1…", "http_5xx", "The build server answered 503.", "<code>build</code>", run.pk,
                  "Not undone: deploy[2].", "Undone: build."):  # fmt: skip
        assert shown in text, shown
    assert [r["attempts"] for r in page.context["rows"]] == [1]
    nav = text.split("</nav>")[0]
    assert 'href="/dead-letters" aria-current="page"' in nav and '<span class="count">1<span' in nav
    assert "Not everything could be undone." in words(sign_in("ana").get(f"/runs/{run.pk}"))


def test_filters_narrow_the_list_and_keep_each_other(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    other = seed.Story(seed.flow("refund", "Refund", "payments/eu")).failed()
    Run.objects.filter(pk=other.run.pk).update(error_class="timeout", dead_at=time.time() - 7200)
    page = client.get("/dead-letters?folder=payments/eu")
    assert [r["flow"] for r in page.context["rows"]] == ["refund"] and page.context["total"] == 1
    page = client.get("/dead-letters?error_class=http_5xx&q=503")
    assert [r["flow"] for r in page.context["rows"]] == ["release-service"]
    assert {c["label"]: c["n"] for c in page.context["classes"]} == {"All": 2, "http_5xx": 1, "timeout": 1}
    assert all("q=503" in c["link"] for c in page.context["classes"])
    assert "No dead letters match" in words(client.get("/dead-letters?q=nowhere"))
    assert client.get("/dead-letters?range=1h&flow=refund").context["total"] == 0  # two hours ago
    assert client.get("/dead-letters?cursor=nonsense").status_code == 302


def test_without_dead_letters_the_page_says_what_would_be_here(sign_in: SignIn, place: dict[str, Any]) -> None:
    text = words(sign_in("otto").get("/dead-letters"))
    assert "No dead letters" in text and 'class="count">0<' in text and "Replay all" not in text


def test_all_that_were_counted_are_replayed_and_nothing_that_came_since(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    page = client.get("/dead-letters")
    form = {"all": f"{page.context['now']:.6f}", "control": "replay", "rate": "0", "reason": "mended"}
    later = seed.Story(place["failed"].run.flow).failed()
    Run.objects.filter(pk=later.run.pk).update(dead_at=page.context["now"] + 5)
    answer = client.post("/dead-letters/do", form)
    batch = ReplayBatch.objects.get()
    assert answer["Location"] == f"/dead-letters/replays/{batch.pk}" and (batch.total, batch.rate) == (1, 0)
    text = words(client.get(answer["Location"]))
    assert "0 of 1: 0 done, 0 refused, 1 to go" in text and "Abort…" in text and "Started by" in text
    assert "A replay is under way." in words(client.get("/dead-letters"))
    while duty.step(batch.pk, page.context["now"] + 10):
        pass
    text = words(client.get(answer["Location"], headers={"HX-Request": "true", "HX-Target": "replay-live"}))
    assert "Replayed" in text and ">Queued<" in text, "what came of the run itself, not only that it was sent on"
    assert "1 of 1: 1 done, 0 refused" in text and "<html" not in text and "to go" not in text
    assert "Replayed as new runs" in words(client.get("/dead-letters/replays"))


def test_chosen_ones_are_retried_or_dismissed(sign_in: SignIn, place: dict[str, Any]) -> None:
    client, run = sign_in("ana"), place["failed"].run
    answer = client.post("/dead-letters/do", {"id": [run.pk], "control": "retry", "reason": "x"})
    assert ReplayBatch.objects.get().filter == {"ids": [run.pk]}
    assert "1 chosen by hand" in words(client.get(answer["Location"]))
    answer = client.post("/dead-letters/do", {"id": [run.pk], "control": "dismiss", "reason": "x", "back": "?q=a"})
    assert answer["Location"] == "/dead-letters?q=a"
    assert "Dismissed 1 of 1 dead letter." in words(client.get("/dead-letters"))
    client.post("/dead-letters/do", {"control": "retry", "reason": "x", "back": "//elsewhere"})
    assert "No run was chosen." in words(client.get("/dead-letters"))
    assert client.post("/dead-letters/do", {"control": "explode"}).status_code == 404
    assert client.get("/dead-letters/do").status_code == 405


def test_a_replay_is_aborted_from_its_page(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    client.post("/dead-letters/do", {"id": [place["failed"].run.pk], "control": "retry", "reason": "x"})
    path = f"/dead-letters/replays/{ReplayBatch.objects.get().pk}"
    assert sign_in("otto").get(path).status_code == 404 == sign_in("otto").post(f"{path}/abort").status_code
    client.post(f"{path}/abort", {"reason": "enough"})
    text = words(client.get(path))
    assert "Aborted" in text and "by ana" in text and "1 left as they were" in text
    client.post(f"{path}/abort", {})
    assert "has ended already" in words(client.get(path))
    assert "None of them" in words(client.get(f"{path}?status=done"))


def test_an_input_goes_into_quarantine_from_its_run_and_comes_out_on_its_page(
    sign_in: SignIn, place: dict[str, Any]
) -> None:
    client, run = sign_in("ana"), place["failed"].run
    assert "No input is refused" in words(client.get("/quarantine"))
    assert 'id="quarantine"' in words(client.get(f"/runs/{run.pk}"))
    form = {"id": run.pk, "run": run.pk, "control": "quarantine", "reason": "eats the disk"}
    answer = client.post("/dead-letters/do", form)
    row = Quarantine.objects.get()
    assert answer["Location"] == f"/quarantine/{row.pk}"
    text = words(client.get(answer["Location"]))
    assert "eats the disk" in text and "payments-api" in text and "Release…" in text
    assert "eats the disk" in words(client.get("/quarantine?flow=release-service"))
    assert client.post("/dead-letters/do", form)["Location"] == f"/runs/{run.pk}"
    assert "in quarantine already" in words(client.get(f"/runs/{run.pk}"))
    assert sign_in("otto").get(f"/quarantine/{row.pk}").status_code == 404
    assert "Release…" not in words(sign_in("jonas").get(f"/quarantine/{row.pk}"))
    assert sign_in("jonas").post(f"/quarantine/{row.pk}/release", {"reason": "x"}, follow=True).status_code == 200
    client.post(f"/quarantine/{row.pk}/release", {"reason": " "})
    row.refresh_from_db()
    assert row.released_at is None
    client.post(f"/quarantine/{row.pk}/release", {"reason": "mended"})
    assert "Released by" in words(client.get(f"/quarantine/{row.pk}"))
    assert "eats the disk" in words(client.get("/quarantine?state=released"))


def test_who_operates_nothing_is_offered_nothing(sign_in: SignIn, place: dict[str, Any]) -> None:
    client, run = sign_in("jonas"), place["failed"].run
    text = words(client.get("/dead-letters"))
    assert run.pk in text and 'name="control"' not in text
    assert 'id="dismiss"' not in words(client.get(f"/runs/{run.pk}"))
    client.post("/dead-letters/do", {"id": [run.pk], "control": "dismiss", "reason": "x"})
    assert Run.objects.get(pk=run.pk).dead_at is not None
    client.post("/dead-letters/do", {"all": "9e9", "control": "retry", "reason": "x"})
    assert not ReplayBatch.objects.exists()
