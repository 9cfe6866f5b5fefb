"""What the run's page offers somebody who operates it, and the bulk bar of the list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.models import Run, RunEvent, StepRun

SignIn = Callable[[str], Client]


def words(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_a_failed_run_offers_its_recoveries_with_their_consequences(sign_in: SignIn, place: dict[str, Any]) -> None:
    page = sign_in("ana").get(f"/runs/{place['failed'].run.pk}")
    rows = {r["control"]: r for r in page.context["recover"]["rows"]}
    assert set(rows) == {"retry", "retry_from", "skip", "complete", "replay", "fork"}
    assert rows["retry"]["facts"] == [{"label": "Runs again", "steps": ("build",)}]
    facts = {f["label"]: f["steps"] for f in rows["retry_from"]["facts"]}
    assert facts["Asked again"] == ("approve",) and "deploy" in facts["Runs again"]
    text = words(page)
    assert "No step of this run has an unknown outcome." in text and "Retry the failed steps?" in text
    assert sign_in("jonas").get(f"/runs/{place['failed'].run.pk}").context["recover"]["rows"] == []


def test_a_retry_from_the_page_is_recorded_with_reason_and_person(sign_in: SignIn, place: dict[str, Any]) -> None:
    client, run = sign_in("ana"), place["failed"].run
    client.post(f"/runs/{run.pk}/retry", {"reason": " the server is back "})
    event = RunEvent.objects.get(run=run, type="run.retry_requested")
    assert (event.actor, event.data["reason"]) == ("ana", "the server is back")
    assert Run.objects.get(pk=run.pk).status == "queued"
    assert "Retry requested: “the server is back” by <b>ana</b>" in words(client.get(f"/runs/{run.pk}"))


def test_a_step_is_skipped_or_completed_by_its_form(sign_in: SignIn, place: dict[str, Any]) -> None:
    client, run = sign_in("ana"), place["failed"].run
    client.post(f"/runs/{run.pk}/complete", {"step": "build", "output": "{broken", "reason": "x"})
    assert "The body is not JSON" in words(client.get(f"/runs/{run.pk}"))
    client.post(f"/runs/{run.pk}/complete", {"step": "build", "output": '{"image": 1}', "reason": "built by hand"})
    assert StepRun.objects.get(run=run, step="build").output == {"image": 1}


def test_a_replay_leads_to_the_new_run(sign_in: SignIn, place: dict[str, Any]) -> None:
    client, run = sign_in("ana"), place["failed"].run
    given = json.dumps({"service": "x"})
    answer = client.post(f"/runs/{run.pk}/replay", {"input": given, "release": "same", "reason": "again"})
    new = Run.objects.get(pk=answer["Location"].rsplit("/", 1)[1])
    assert new.pk != run.pk and new.input == {"service": "x"} and new.trigger["of"] == run.pk


def test_an_unknown_verb_is_not_found(sign_in: SignIn, place: dict[str, Any]) -> None:
    assert sign_in("ana").post(f"/runs/{place['failed'].run.pk}/explode").status_code == 404


def test_a_paused_run_says_what_goes_on_meanwhile(sign_in: SignIn, place: dict[str, Any]) -> None:
    story = place["running"]
    story.step("approve", 30, None, status="waiting", state={"wait": {"kind": "approval", "until": story.start + 900}})
    paused = {"actor": "mira", "reason": "a look", "at": story.start}
    Run.objects.filter(pk=story.run.pk).update(status="pausing", control={"paused": paused})
    text = words(sign_in("ana").get(f"/runs/{story.run.pk}"))
    assert (
        "Pausing by mira: “a look”" in text and "Still in flight: build." in text and "approve (approval, until" in text
    )


def test_a_run_that_was_undone_says_what_was_and_was_not(sign_in: SignIn, place: dict[str, Any]) -> None:
    run = place["failed"].run
    where = {"step": "build", "item": None}
    ending = {
        "to": "failed",
        "phase": "ended",
        "undone": [where],
        "not_undone": [{**where, "step": "plan", "error": {}}],
    }
    Run.objects.filter(pk=run.pk).update(control={"ending": ending})
    page = sign_in("ana").get(f"/runs/{run.pk}")
    text = words(page)
    assert "Undone: build. Not undone: plan." in text and "so its steps cannot go on" in text
    assert text.count("so its steps cannot go on") == 1, "what cannot be done is said once for each reason"
    assert [r["control"] for r in page.context["recover"]["rows"]] == ["replay"]


def test_a_run_that_a_no_stopped_says_who_and_why_and_nothing_failed(sign_in: SignIn, place: dict[str, Any]) -> None:
    story = place["waiting"]
    StepRun.objects.filter(run=story.run, step="approve").update(status="failed", ended_at=story.start + 60)
    ending = {"to": "cancelled", "phase": "ended", "actor": "mira", "reason": "approve was rejected: Not <today>"}
    Run.objects.filter(pk=story.run.pk).update(
        status="cancelled", control={"ending": ending}, ended_at=story.start + 61
    )
    client = sign_in("ana")
    page = client.get(f"/runs/{story.run.pk}?step=approve")
    assert "<b>Cancelled by mira.</b> <p>approve was rejected: Not &lt;today&gt;</p>" in words(page)
    assert (page.context["inspect"]["state"], page.context["inspect"]["label"]) == ("cancelled", "Rejected")
    row = next(r for r in client.get("/runs").context["rows"] if r["id"] == story.run.pk)
    assert row["state"] == "cancelled" and "failed" not in {block["state"] for block in row["strip"]}


def test_many_runs_are_asked_from_the_list(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    assert 'name="control"' in words(client.get("/runs"))
    chosen = [place["failed"].run.pk, place["running"].run.pk]
    answer = client.post("/runs/bulk", {"id": chosen, "control": "retry", "reason": "all", "back": "?status=failed"})
    assert answer["Location"] == "/runs?status=failed"
    assert "Retried 1 of 2 runs. 1 refused: The run has not ended." in words(client.get("/runs"))
    client.post("/runs/bulk", {"control": "retry", "reason": "all", "back": "//elsewhere"})
    assert "No run was chosen." in words(client.get("/runs"))
    assert 'name="control"' not in words(sign_in("jonas").get("/runs"))


def test_all_runs_that_match_are_asked_after_a_look_at_what_that_would_do(
    sign_in: SignIn, place: dict[str, Any]
) -> None:
    client, failed = sign_in("ana"), place["failed"].run
    asked = {"all": "", "control": "retry", "reason": "mended", "range": "30d", "back": "?range=30d"}
    page = client.post("/runs/bulk", asked)
    total = Run.objects.count()
    assert (page.context["would"], page.context["total"]) == (1, total) and total > 2
    text = words(page)
    assert "The run has not ended. Wait for its end" in text and "mended" in text and place["running"].run.pk in text
    failed.refresh_from_db()
    assert failed.status == "failed"  # nothing was done yet
    assert client.post("/runs/bulk", {**asked, "sure": "1"})["Location"] == "/runs?range=30d"
    failed.refresh_from_db()
    assert failed.status == "queued"


def test_what_started_since_the_list_was_seen_is_left_alone(sign_in: SignIn, place: dict[str, Any]) -> None:
    asked = {"all": "0" * 26, "control": "cancel", "reason": "x", "range": "30d"}
    page = sign_in("ana").post("/runs/bulk", asked)
    assert page.context["total"] == 0 and "None of them takes it." in words(page)


def test_older_runs_than_one_request_takes_are_looked_at_next(
    sign_in: SignIn, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.bulk.MAX_RUNS", 2)
    client, left = sign_in("ana"), set(Run.objects.values_list("pk", flat=True))
    asked = {"all": "", "control": "cancel", "reason": "x", "range": "30d", "sure": "1"}
    looked: list[int] = []
    while (page := client.post("/runs/bulk", asked)).status_code == 200:
        looked.append(page.context["total"])
        assert "older than those that were asked" in words(page)
        asked["before"] = page.context["asked"].before
    assert looked == list(range(len(left) - 2, 0, -2)) and len(looked) > 1
    assert page["Location"] == "/runs"


def test_undoing_has_its_words(sign_in: SignIn, place: dict[str, Any]) -> None:
    story = place["failed"]
    story.event(39, "run.compensating", steps=1)
    story.event(40, "run.compensating", steps=2)
    story.event(41, "step.started", "build~", attempt=1)
    text = words(sign_in("ana").get(f"/runs/{story.run.pk}"))
    assert "Undoing what 1 step did" in text
    assert "Undoing what 2 steps did" in text and "<b>Undoing build</b> started" in text
