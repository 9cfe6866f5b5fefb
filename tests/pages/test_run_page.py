"""The page of one run: timeline, map, inspector, events, controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from resources.errors import Conflict
from runs import actions, views
from runs.models import RunEvent
from runs.runpage import attempts_of
from tests.pages import seed

SignIn = Callable[[str], Client]
pytestmark = pytest.mark.db_matrix


def test_the_timeline_shows_failed_attempts_backoff_timers_and_people(sign_in: SignIn, place: dict[str, Any]) -> None:
    page = sign_in("ana").get(f"/runs/{place['waiting'].run.pk}?step=tests").context
    rows = {r["id"]: r for r in page["timeline"]["rows"]}
    assert [b["kind"] for b in rows["tests"]["bars"]] == ["fail", "back", "fail", "back", "ok"]
    assert rows["canary"]["bars"][-1]["kind"] == "wait"
    assert rows["approve"]["bars"][-1]["kind"] == "human"
    assert rows["deploy"]["bars"] == []
    assert rows["tests"]["attempts"] == 3
    assert [a["state"] for a in page["inspect"]["attempts"]] == ["succeeded", "failed", "failed"]


def test_the_map_has_every_step_in_its_state(sign_in: SignIn, place: dict[str, Any]) -> None:
    nodes = sign_in("ana").get(f"/runs/{place['waiting'].run.pk}").context["map"]["nodes"]
    states = {n["id"]: n["state"] for n in nodes}
    assert states == {
        "plan": "succeeded", "build": "succeeded", "tests": "succeeded", "canary": "succeeded", "approve": "human",
        "deploy": "queued", "tell": "queued",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "step"), [("waiting", "approve"), ("failed", "build"), ("running", "build")])
def test_the_inspector_opens_at_the_step_people_came_for(
    name: str, step: str, sign_in: SignIn, place: dict[str, Any]
) -> None:
    assert sign_in("ana").get(f"/runs/{place[name].run.pk}").context["inspect"]["id"] == step


def test_the_inspector_shows_the_bytes_that_were_approved(sign_in: SignIn, place: dict[str, Any]) -> None:
    story = place["waiting"]
    granted = {**seed.actions()[0], "digest": "abc"}
    story.steps["approve"].state = {"granted": {"deploy:-1": granted}}
    story.steps["approve"].save(update_fields=["state"])
    story.step("deploy", 2000, None, status="running")
    action = sign_in("ana").get(f"/runs/{story.run.pk}?step=deploy").context["inspect"]["action"]
    assert action["config"] == granted["config"]


def test_output_is_escaped(sign_in: SignIn, place: dict[str, Any]) -> None:
    page = sign_in("ana").get(f"/runs/{place['waiting'].run.pk}?step=plan&tab=output").content.decode()
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<b>no</b>" not in page


def test_a_refresh_brings_only_newer_events(sign_in: SignIn, place: dict[str, Any]) -> None:
    client, story = sign_in("ana"), place["running"]
    last = client.get(f"/runs/{story.run.pk}").context["events"][-1]["seq"]
    story.event(9, "step.log", "build", lines=["<i>compiled</i>"])
    headers = {"HX-Request": "true", "HX-Target": "run-live"}
    part = client.get(f"/runs/{story.run.pk}?after={last}", headers=headers)
    assert [e["seq"] for e in part.context["events"]] == [last + 1]
    assert 'hx-swap-oob="beforeend:#events"' in part.content.decode()
    assert "&lt;i&gt;compiled" in part.content.decode()


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_a_control_posts_its_reason_to_the_action(
    verb: str, sign_in: SignIn, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(actions, views.VERBS[verb], lambda **asked: calls.append(asked))
    run_id = place["running"].run.pk
    assert sign_in("ana").post(f"/runs/{run_id}/{verb}", {"reason": " wrong version "}).status_code == 302
    assert [(c["run_id"], c["reason"], c["actor"].name) for c in calls] == [(run_id, "wrong version", "ana")]


def test_a_refused_control_is_said_on_the_page(
    sign_in: SignIn, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**asked: Any) -> None:
        raise Conflict("Not cancelled: the run had already finished.")

    monkeypatch.setattr(actions, "cancel_run", refuse)
    client, path = sign_in("ana"), f"/runs/{place['running'].run.pk}"
    client.post(f"{path}/cancel", {"reason": "x"})
    assert "the run had already finished" in client.get(path).content.decode()


def test_who_may_not_operate_gets_no_controls(sign_in: SignIn, place: dict[str, Any]) -> None:
    page = sign_in("jonas").get(f"/runs/{place['running'].run.pk}").content.decode()
    assert 'commandfor="cancel"' not in page


def test_an_open_request_is_offered_for_review_on_the_run(sign_in: SignIn, place: dict[str, Any]) -> None:
    page = sign_in("ana").get(f"/runs/{place['waiting'].run.pk}").content.decode()
    assert "Needs 1 more approval" in page
    assert f'href="/approvals/{place["main"].pk}">Review' in page


def test_a_running_attempt_shows_how_far_it_is_and_a_late_run_says_so(sign_in: SignIn, place: dict[str, Any]) -> None:
    story = place["running"]
    row = story.steps["build"]
    row.live = {"attempt": row.attempt, "progress": {"message": "<i>7</i> of 10", "percent": 70.0, "at": 1.0}}
    row.save(update_fields=["live"])
    story.run.control = {"times": {"late": 1.0, "calling": "", "calls": []}}
    story.run.save(update_fields=["control"])
    page = sign_in("ana").get(f"/runs/{story.run.pk}?step=build").content.decode()
    assert '<progress max="100" value="70"' in page and "&lt;i&gt;7&lt;/i&gt; of 10" in page
    assert "longer than its sla" in page and 'data-poll="run-live"' in page
    row.live = {**row.live, "attempt": row.attempt - 1}  # left by an attempt that is no more
    row.save(update_fields=["live"])
    assert "<progress" not in sign_in("ana").get(f"/runs/{story.run.pk}?step=build").content.decode()


def test_what_a_running_attempt_says_and_logs_is_shown_escaped_while_it_runs(
    sign_in: SignIn, place: dict[str, Any]
) -> None:
    story = place["running"]
    row = story.steps["build"]
    row.live = {"attempt": row.attempt, "tail": "<b>linking</b>\n", "log": ["<i>began</i>"]}
    row.save(update_fields=["live"])
    client, path = sign_in("ana"), f"/runs/{story.run.pk}?step=build"
    answer = client.get(path)
    page = answer.content.decode()
    assert 'aria-live="off"' in page and "&lt;b&gt;linking&lt;/b&gt;" in page and "&lt;i&gt;began&lt;/i&gt;" in page
    assert answer.context["inspect"]["attempts"][0]["log"] == ["<i>began</i>"]
    told = client.get(f"/api/v1/runs/{story.run.pk}").json()["steps"]
    assert [s["live"] for s in told if s["id"] == "build"] == [{"tail": "<b>linking</b>\n", "log": ["<i>began</i>"]}]
    row.live = {**row.live, "attempt": row.attempt - 1}  # of an attempt that is no more
    row.save(update_fields=["live"])
    assert "linking" not in client.get(path).content.decode()


def test_each_ended_attempt_keeps_its_own_log(sign_in: SignIn, place: dict[str, Any]) -> None:
    story = place["waiting"]
    found = sign_in("ana").get(f"/runs/{story.run.pk}?step=tests").context["inspect"]["attempts"]
    assert [a["log"] for a in found] == [[], [], []]
    events: list[RunEvent] = []
    for n in (1, 2):
        events += [
            RunEvent(type="step.started", item=-1, at=n, data={"attempt": n}),
            RunEvent(type="step.log", item=-1, at=n, data={"attempt": n, "lines": [f"line {n}"]}),
            RunEvent(type="step.retrying", item=-1, at=n, data={"attempt": n}),
        ]
    assert [(a["n"], a["log"]) for a in attempts_of(events)] == [(2, ["line 2"]), (1, ["line 1"])]
