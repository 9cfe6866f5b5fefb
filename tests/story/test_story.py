"""The main job on real input, as people see it: GitHub tells of releases, a person decides, it happens once.

All 13 `release` bodies go through the running program; the pages are watched in a browser, on both databases.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.story.stage import (
    BODIES,
    BOUND,
    FLOW,
    PUBLISHED,
    TITLE,
    Stage,
    connected,
    mark,
    not_reloaded,
    shot,
    sighted,
    until,
    watch,
)

pytestmark = [pytest.mark.stack, pytest.mark.browser]
CAREFUL = """\
language: 1
flow: careful-release
title: Careful release
folder: demo
input:
  type: object
  required: [service]
  properties: {service: {type: string}}
triggers: [{manual: {}}]
steps:
  - id: approve
    approval:
      title: Deploy ${{ input.service }} carefully
      protects: [deploy]
      reviewers: {groups: [release-managers], quorum: 2, exclude: [starter]}
      form:
        type: object
        required: [window]
        properties:
          window: {enum: [now, tonight, tomorrow, next-week], title: When, default: now}
      expires: 1h
  - id: deploy
    irreversible: true
    timeout: 15s
    retry: {max_attempts: 3}
    http:
      connection: world
      method: POST
      path: /deploy
      json: {service: "${{ input.service }}", window: "${{ steps.approve.output.form.window }}"}
"""


def approve(page: Any, name: str = FLOW) -> None:
    """Through the dialog, typing the target's name."""
    page.get_by_role("button", name="Approve…").click()
    confirm = page.locator("#confirm [data-confirm-submit]")
    assert confirm.get_attribute("aria-disabled") == "true"
    page.fill("#c-name", name)
    page.fill("#a-note", "Read the notes and the payload.")
    confirm.click()


def test_thirteen_deliveries_become_three_runs_and_three_requests(stage: Stage) -> None:
    inbox = stage.sign_in("reviewer", "/inbox")
    stranger = stage.sign_in("stranger", "/inbox")
    for page in (inbox, stranger):
        connected(page)
        mark(page)
    before = stage.effects()
    answers = []
    for body in BODIES:
        delivery = uuid.uuid4()
        answers.append((body["action"], delivery, stage.deliver(body, str(delivery))))
    assert {status for _, _, (status, _) in answers} == {202}
    assert len(answers) == 13
    assert {action: told["status"] for action, _, (_, told) in answers} == {
        action: "started" if action == "published" else "ignored" for action in {b["action"] for b in BODIES}
    }
    runs = [told["run"] for _, _, (_, told) in answers if "run" in told]
    assert len(set(runs)) == 3
    inbox.wait_for_selector("#inbox-count >> text=/^3/")
    # the first ones had nothing to move: as many as had come when the empty list was fetched
    inbox.wait_for_selector("#inbox-new >> text=/^[12] new request/")
    assert not_reloaded(inbox)
    asked = [stage.request_of(run) for run in runs]
    for body, (action, delivery, _) in zip(BODIES, answers, strict=True):
        status, told = stage.deliver(body, str(delivery))
        assert (status, told["status"]) == ((200, "duplicate") if action == "published" else (202, "ignored"))
        assert told.get("run") in (None, *runs)
    inbox.keyboard.press(".")
    inbox.wait_for_selector(f"#item-{asked[-1]['id']}")
    assert inbox.locator("#inbox-live [data-item]:not(.item--quiet)").count() == 3
    assert stage.effects() == before, "nothing happens before somebody says yes"
    assert not_reloaded(stranger)
    assert stranger.inner_text("#g-yours").split() == ["Yours", "now", "0"]
    assert stage.complaints == []


def test_a_published_release_is_approved_by_a_person_and_deployed_once(stage: Stage) -> None:
    inbox = stage.sign_in("reviewer", "/inbox")
    other = stage.sign_in("reviewer2", "/inbox")
    connected(inbox)
    mark(inbox)
    watch(inbox, "#inbox-live .item:not(.item--quiet)", TITLE)
    run = stage.arrive()
    seen = sighted(inbox, BOUND * 5)
    request = stage.request_of(run)
    stage.noted("approval appeared", seen - stage.at_event(run, "approval.requested"))
    assert not_reloaded(inbox)

    inbox.locator(f"#item-{request['id']}").click()
    _reads_exactly_what_will_happen(inbox, stage, request)
    shot(inbox, "approval")

    watcher = stage.sign_in("operator", f"/runs/{run}")
    other.goto(f"{stage.stack.url}/approvals/{request['id']}")
    for page in (watcher, other):
        connected(page)
        mark(page)
    shot(watcher, "run")
    watch(watcher, "#row-deploy", "Succeeded")
    watch(other, "#request-live", "Approved by reviewer")
    approve(inbox)
    inbox.wait_for_selector("#request-live >> text=Approved by you")
    decided = sighted(other, BOUND)
    ended = sighted(watcher, BOUND * 5)
    stage.noted("decision by somebody else", decided - stage.at_event(run, "approval.decided"))
    stage.noted("step ended", ended - stage.at_event(run, "step.succeeded", "deploy"))
    blocked = other.locator("#decide-bar button")
    assert {b.get_attribute("aria-disabled") for b in blocked.all()} == {"true"}

    watcher.wait_for_selector("#run-head .badge >> text=Succeeded", timeout=BOUND * 1000)
    watcher.wait_for_selector("#timeline #row-verify >> text=succeeded", state="attached")
    assert "was approved by reviewer" in watcher.inner_text("#events")
    assert not_reloaded(watcher) and not_reloaded(other)
    _happened_once(stage, run)
    assert stage.complaints == []


def _reads_exactly_what_will_happen(page: Any, stage: Stage, request: dict[str, Any]) -> None:
    page.wait_for_selector(f"#detail-title >> text={TITLE}")
    shown, action = page.inner_text("#effect"), request["actions"][0]["config"]
    assert f"POST {stage.info['world_url']}/deploy" in shown
    assert "Cannot be undone" in shown
    payload = json.loads(page.inner_text("#payload code"))
    assert action["json"] == {
        "service": "hello-world",
        "version": "v0.0.1",
        "environment": "production",
        "release": PUBLISHED["release"]["html_url"],
    }
    assert json.dumps(action["json"], sort_keys=True) in json.dumps(payload, sort_keys=True)
    assert page.locator("[data-digest]").get_attribute("data-digest") == request["digest"]
    assert page.locator("#decision-digest").input_value() == request["digest"]


def _happened_once(stage: Stage, run: str) -> None:
    found = stage.run(run)
    assert (found["status"], found["output"]["deployed"]) == ("succeeded", True)
    assert [(e["kind"], e["requests"], e["applied"]) for e in stage.effects(run)] == [("deploy", 1, 1)]


def test_a_rejection_needs_a_reason_and_nothing_happens(stage: Stage) -> None:
    run = stage.arrive()
    request = stage.request_of(run)
    page = stage.sign_in("reviewer2", f"/approvals/{request['id']}")
    page.keyboard.press("r")
    button = page.locator("#reject").get_by_role("button", name="Reject")
    button.click()
    assert page.locator("#reject[open]").count() == 1, "without a reason it stays open"
    page.fill("#r-note", "The release notes are empty.")
    button.click()
    page.wait_for_selector("#request-live >> text=Rejected by you")
    until(lambda: stage.run(run)["status"] == "cancelled", "rejected, and not cancelled")
    page.goto(f"{stage.stack.url}/runs/{run}")
    assert "was rejected by reviewer2: “The release notes are empty.”" in page.inner_text("#events")
    assert stage.effects(run) == []
    status, told = stage.decide("reviewer", request, "approve")
    assert status == 409
    assert "reviewer2" in json.dumps(told["error"]["details"])
    assert stage.complaints == []


def test_who_started_a_run_reads_the_request_and_cannot_decide_it(stage: Stage) -> None:
    page = stage.sign_in("both", f"/flows/{FLOW}/start")
    page.get_by_role("textbox", name="Repository").fill("octo/lamp")
    page.get_by_role("textbox", name="Tag").fill("v2.0.0")
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url("**/runs/*")
    run = page.url.rpartition("/")[2]
    request = stage.request_of(run)
    page.wait_for_selector("#run-banner >> text=Deploy lamp v2.0.0 to production")
    page.goto(f"{stage.stack.url}/approvals/{request['id']}")
    assert "You started this run, so somebody else must decide." in page.inner_text("#decide-bar")
    assert {b.get_attribute("aria-disabled") for b in page.locator("#decide-bar button").all()} == {"true"}
    page.keyboard.press("a")
    assert page.locator("dialog[open]").count() == 0
    status, told = stage.decide("both", request, "approve")
    assert (status, told["error"]["code"]) == (403, "excluded_starter")
    assert stage.decide("reviewer", request, "approve")[0] == 200
    page.goto(f"{stage.stack.url}/runs/{run}")
    page.wait_for_selector("#run-head .badge >> text=Succeeded")
    _happened_once(stage, run)
    assert stage.complaints == []


def test_two_people_must_agree_on_the_same_form_and_the_page_shows_what_it_changes(stage: Stage) -> None:
    if stage.api("author", "/flows/careful-release/draft")[0] == 404:
        assert stage.api("author", "/flows", CAREFUL, kind="application/yaml")[0] == 201
        release = {"version": "1.0.0", "notes": "", "live": True}
        assert stage.api("author", "/flows/careful-release/releases", release)[0] == 201
    _, started = stage.api("operator", "/flows/careful-release/runs", {"input": {"service": "lamp"}})
    request = stage.request_of(started["id"])
    first = stage.sign_in("reviewer", f"/approvals/{request['id']}")
    first.get_by_label("When").select_option("tonight")
    first.wait_for_selector("#effect >> text=tonight")
    changed = first.locator("#decision-digest").input_value()
    assert changed == first.locator("[data-digest]").get_attribute("data-digest") != request["digest"]
    approve(first, "careful-release")
    first.wait_for_selector("#decide-bar >> text=You have decided already.")
    assert stage.effects(started["id"]) == []
    second = stage.sign_in("reviewer2", f"/approvals/{request['id']}")
    assert "tonight" in second.inner_text("#effect"), "the second reviewer sees what the first one agreed to"
    assert second.get_by_label("When").input_value() == "tonight"
    assert stage.decide("reviewer", {**request, "digest": changed}, "approve", form={"window": "tonight"})[0] == 409
    approve(second, "careful-release")
    first.wait_for_selector("#request-live >> text=Approved by reviewer2", timeout=BOUND * 1000)
    until(lambda: stage.run(started["id"])["status"] == "succeeded", "approved twice, and not done")
    assert [(e["requests"], e["applied"]) for e in stage.effects(started["id"])] == [(1, 1)]
    assert stage.complaints == []


def test_who_has_no_grant_sees_nothing_and_hears_nothing(stage: Stage) -> None:
    page = stage.sign_in("stranger", "/inbox")
    heard: list[str] = []
    page.on("websocket", lambda ws: ws.on("framereceived", lambda text: heard.append(str(text))))
    page.goto(f"{stage.stack.url}/runs")
    connected(page)
    run = stage.arrive()
    request = stage.request_of(run)
    page.wait_for_timeout(700)
    assert heard and all(run not in text and FLOW not in text for text in heard)
    assert page.locator("tr[id^=run-]").count() == 0
    for path in (f"/runs/{run}", f"/approvals/{request['id']}", f"/flows/{FLOW}", f"/flows/{FLOW}/edit"):
        answer = page.goto(stage.stack.url + path)
        assert (path, answer.status) == (path, 404)
    assert stage.api("stranger", f"/runs/{run}")[0] == 404
    assert stage.api("stranger", f"/approvals/{request['id']}")[0] == 404
    assert stage.decide("stranger", request, "reject")[0] == 404
    assert stage.request_of(run)["status"] == "open"


def test_a_forged_delivery_starts_nothing(stage: Stage) -> None:
    _, before = stage.api("admin", "/runs?limit=200")
    status, told = stage.deliver(PUBLISHED, str(uuid.uuid4()), secret="guessed")
    assert (status, told["error"]["code"]) == (401, "bad_signature")
    _, after = stage.api("admin", "/runs?limit=200")
    assert len(after["items"]) == len(before["items"])
