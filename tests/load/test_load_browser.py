"""Paused flows, lines and the load in Chromium: accessible, within the policy, fitting; the dialog works."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from flows.definition.compiler import compile_source
from flows.models import Draft, Flow, Release
from runs import flow_actions, load
from runs.actions import start_run
from tests.engine.cluster import SYSTEM
from tests.pages.conftest import browser
from tests.pages.test_browser import axe, lively, visit

__all__ = ["browser", "lively", "visit"]
#: a folder for screenshots, when somebody wants to look
SHOTS = os.environ.get("SHOTS", "")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def narrow(lively: dict[str, Any]) -> dict[str, Any]:
    """A flow of one run at a time with three in line, a paused one, and workers of one queue."""
    source = (
        "flow: narrow\nfolder: platform\ntitle: One at a time\nconcurrency: {key: the-only-one}\nqueue: gpu\n"
        "steps:\n  - id: rest\n    sleep: 1h\n"
    )
    plan, problems = compile_source(source)
    assert plan is not None, problems
    folder = lively["waiting"].run.flow.folder
    flow = Flow.objects.create(slug="narrow", folder=folder, title="One at a time")
    Draft.objects.create(flow=flow, source=source)
    made = {"plan_json": plan.to_json(), "checksum": plan.checksum, "language": plan.language}
    flow.live = Release.objects.create(flow=flow, version="1.0.0", source=source, revision=1, **made)
    flow.save(update_fields=["live"])
    runs = [start_run(actor=SYSTEM, flow=flow, input={}, priority=5).run.pk for _ in range(3)]
    load.note("worker-1.example:4711", "worker-1.example", 4, 2)
    return {"flow": flow, "runs": runs}


@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("phone", "dark"), ("phone", "light")])
def test_every_page_of_the_load_is_accessible_fits_and_keeps_the_policy(
    visit: Callable[..., Any], narrow: dict[str, Any], live_server: Any, size: str, theme: str
) -> None:
    page = visit("/system", size=size, theme=theme)
    problems: list[str] = []

    def look(name: str, path: str) -> None:
        page.goto(live_server.url + path)
        problems.extend(f"{name}: {p}" for p in axe(page))
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{name}: wider than the screen")
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/{name}-{size}-{theme}.png")

    look("system", "/system")
    look("queued", f"/runs/{narrow['runs'][2]}")
    page.goto(live_server.url + "/flows/narrow")
    page.get_by_role("button", name="Pause the flow…").click()
    problems += [f"dialog: {p}" for p in axe(page)]
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/dialog-{size}-{theme}.png")
    page.fill("#gate-why", "The bank is down.")
    page.get_by_role("button", name="Pause the flow", exact=True).click()
    page.get_by_text("Paused by").wait_for()
    look("paused", "/flows/narrow")
    look("start", "/flows/narrow/start")
    flow_actions.resume_flow(actor=SYSTEM, slug="narrow")
    assert problems + page.complaints == []
