"""Whoever may only look at a run does not learn the addresses that answer its waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources.access import Actor
from runs import acting, history, store
from runs.actions import start_run
from runs.hidden import hide
from runs.models import StepRun

FLOW = """
flow: asks
folder: team
steps:
  - id: tell
    function: {code: "url", input: {url: "${{ steps.answer.url }}"}}
  - id: answer
    wait: {callback: {timeout: 1h}}
"""


def test_only_the_token_is_hidden_and_nothing_else() -> None:
    token = "01m7z3899v9jdemwythv4ydky5-1-x-1-abcdefghij0123456789"
    url = f"https://x.example/callbacks/{token}"
    assert hide({"a": [f"go to {url} now", 1, None]}) == {"a": ["go to https://x.example/callbacks/… now", 1, None]}
    assert hide("https://x.example/callbacks") == "https://x.example/callbacks"


def test_a_viewer_sees_the_wait_but_not_its_address_and_an_operator_both(
    author: Actor, call_as: Callable[[Any], Any], person: Callable[..., Any]
) -> None:
    create_flow(actor=author, source=FLOW)
    release_draft(actor=author, slug="asks", version="1.0.0", live=True)
    run = start_run(actor=author, flow=Flow.objects.select_related("live").get(slug="asks"), input={}).run
    loaded = store.load(run.pk)
    assert loaded is not None
    url = acting.urls_of(loaded.plan, loaded.state)["answer"]
    history.append(run.pk, "step.waiting", step="answer", data={"wait": {"kind": "callback", "spec": {"url": url}}})
    shown = {}
    for role in ("viewer", "operator"):
        user = person(f"one-{role}", role, "team")
        answer = call_as(user)("GET", f"/runs/{run.pk}/events?limit=200")
        shown[role] = json.dumps(answer.json())
    assert f"/callbacks/{run.pk}-" in shown["operator"]
    assert f"/callbacks/{run.pk}-" not in shown["viewer"] and "/callbacks/" in shown["viewer"]


def test_a_viewer_sees_what_an_attempt_says_without_addresses(
    author: Actor, call_as: Callable[[Any], Any], person: Callable[..., Any]
) -> None:
    create_flow(actor=author, source=FLOW)
    release_draft(actor=author, slug="asks", version="1.0.0", live=True)
    run = start_run(actor=author, flow=Flow.objects.select_related("live").get(slug="asks"), input={}).run
    url = f"https://x.example/callbacks/{run.pk}-1-x-1-abcdefghij0123456789"
    live = {"attempt": 1, "tail": f"posts to {url}", "log": [f"posts to {url}"]}
    StepRun.objects.create(run_id=run.pk, step="tell", item=-1, status="running", attempt=1, live=live, version=1)
    viewer = call_as(person("one-viewer", "viewer", "team"))
    for path in (f"/runs/{run.pk}", "/runs"):
        shown = viewer("GET", path).content.decode()
        assert "posts to" in shown and f"/callbacks/{run.pk}-" not in shown
