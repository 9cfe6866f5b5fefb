"""The pages of schedules in Chromium: accessible, within the policy, on wide screens and phones; by keyboard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from flows.actions import create_flow, release_draft
from resources.access import Actor
from runs import clock
from runs.schedules import actions, firing
from runs.schedules.models import Schedule
from tests.pages import seed
from tests.pages.conftest import browser
from tests.pages.test_browser import SIZES, SOCKET, axe
from tests.schedules.conftest import source

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ONE = "/flows/nightly/schedules"
PATHS = {
    "list": "/schedules", "flow": "/flows/nightly", "active": f"{ONE}/hourly", "paused": f"{ONE}/rests",
    "broken": f"{ONE}/broken", "preview": f"{ONE}/daily?from=2026-02-01T00:00&to=2026-02-20T00:00",
    "refused": f"{ONE}/daily?from=2026-02-01T00:00&to=2026-01-20T00:00",
}  # fmt: skip


@pytest.fixture
def lively(transactional_db: None) -> Any:
    ana = seed.person("ana", "Ana Kovač", ("operator", "author"))
    actor = Actor.of_user(ana)
    schedules = (
        "name: daily, cron: '0 6 * * 1-5', timezone: Europe/Oslo, note: Numbers of the day before, jitter: 30s",
        "name: hourly, cron: '0 * * * *', overlap: buffer_all, catchup: 6h, pause_on_failure: 3",
        "name: rests, cron: '30 2 * * *', timezone: America/New_York",
        "name: broken, cron: '0 7 * * *'",
    )
    create_flow(actor=actor, source=source(*schedules))
    release_draft(actor=actor, slug="nightly", version="1.0.0", live=True)
    actions.pause_schedule(actor=actor, slug="nightly", name="rests", note="The source moves to another house.")
    now = clock.now()
    Schedule.objects.filter(name="hourly").update(due_at=now // 3600 * 3600 - 9 * 3600, wake_at=now - 9 * 3600)
    Schedule.objects.filter(name="broken").update(timezone="Gone/Zone", wake_at=now)
    firing.turn(now)
    return ana


@pytest.fixture
def visit(browser: Any, live_server: Any, lively: Any) -> Iterator[Callable[..., Any]]:
    contexts = []

    def go(path: str, *, theme: str = "light", size: str = "wide") -> Any:
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, color_scheme=theme, reduced_motion="reduce")
        contexts.append(context)
        client = Client()
        client.force_login(lively)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        context.add_init_script(SOCKET)
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.goto(live_server.url + path)
        return page

    yield go
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("theme", "size"), [("light", "wide"), ("dark", "phone"), ("light", "phone")])
def test_every_page_is_accessible_fits_and_keeps_the_policy(
    theme: str, size: str, visit: Callable[..., Any], live_server: Any
) -> None:
    page = visit("/", theme=theme, size=size)
    problems = []
    for name, path in PATHS.items():
        page.goto(live_server.url + path)
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=str(Path(folder) / f"{name}-{size}-{theme}.png"), full_page=True)
        problems += [f"{name}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{name}: wider than the screen")
    page.goto(live_server.url + PATHS["active"])
    for verb in ("Pause…", "Start now…", "Give up…"):
        page.get_by_role("button", name=verb).click()
        page.get_by_role("dialog").wait_for()
        problems += [f"{verb}: {p}" for p in axe(page)]
        page.keyboard.press("Escape")
    expected = "status of 422"  # the range that cannot be
    problems += [c for c in page.complaints if expected not in c]
    assert problems == []


def test_a_schedule_is_paused_by_keyboard_with_a_reason(visit: Callable[..., Any]) -> None:
    page = visit(PATHS["active"])
    page.keyboard.press("p")
    assert page.get_by_role("dialog").get_by_role("heading").inner_text() == "Pause hourly of nightly?"
    page.keyboard.type("Too many numbers.")
    page.get_by_role("button", name="Pause the schedule").press("Enter")
    page.get_by_text("Too many numbers.").wait_for()
    assert Schedule.objects.get(name="hourly").paused_at is not None


def test_a_backfill_is_started_from_its_preview(visit: Callable[..., Any]) -> None:
    page = visit(PATHS["active"])
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * 86400))
    page.get_by_label("From", exact=True).fill(f"{today}T00:00")
    page.get_by_label("To", exact=True).fill(f"{today}T03:00")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("4 of 4 due times will start").wait_for()
    before = Schedule.objects.get(name="hourly").waiting
    page.get_by_role("button", name="Start 4 runs").click()
    page.get_by_text("4 times of the past wait for a turn.").wait_for()
    assert Schedule.objects.get(name="hourly").waiting == before + 4
