"""The pages of dead letters in Chromium: accessible, within the policy, fitting the screen; the dialog by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resources.access import Actor
from runs import clock
from runs.dead import duty
from runs.dead.letters import Filter
from runs.dead.quarantine import quarantine_input
from runs.dead.replays import start_replay
from runs.models import ReplayBatch, Run
from tests.pages import seed
from tests.pages.test_browser import axe, lively, visit

__all__ = ["lively", "visit"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def fill(lively: dict[str, Any]) -> dict[str, str]:
    """Letters of three classes, a replay under way, an input in quarantine; gives the pages by name."""
    actor = Actor.of_user(lively["people"]["ana"])
    refund = seed.flow("refund-a-customer", "Refund a customer", "payments/eu")
    for n, kind in enumerate(("timeout", "contract", "http_5xx", "http_5xx")):
        run = seed.Story(refund if n % 2 else lively["failed"].run.flow, age=3600 + 700 * n).failed().run
        where = {"step": "build", "item": None}
        ending = {"undone": [where], "not_undone": [{"step": "deploy", "item": 2}]} if n == 1 else None
        Run.objects.filter(pk=run.pk).update(error_class=kind, control={"ending": ending} if ending else {})
    batch = start_replay(actor=actor, asked=Filter(flow="refund-a-customer"), mode="replay", reason="mended", rate=1)
    duty.step(batch.pk, clock.now())
    row = quarantine_input(actor=actor, run_id=lively["failed"].run.pk, reason="It eats the disk of the build server.")
    return {
        "letters": "/dead-letters", "no match": "/dead-letters?q=zzz", "replay": f"/dead-letters/replays/{batch.pk}",
        "replays": "/dead-letters/replays", "quarantine": "/quarantine", "released": "/quarantine?state=released",
        "entry": f"/quarantine/{row.pk}", "run": f"/runs/{lively['failed'].run.pk}",
    }  # fmt: skip


@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("phone", "dark")])
def test_every_page_is_accessible_fits_and_keeps_the_policy(
    size: str, theme: str, visit: Callable[..., Any], live_server: Any, lively: dict[str, Any]
) -> None:
    problems = []
    pages = fill(lively)
    page = visit("/dead-letters", size=size, theme=theme)
    for name, path in pages.items():
        page.goto(live_server.url + path)
        problems += [f"{name}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{name}: wider than the screen")
    assert problems + page.complaints == []


def test_all_are_replayed_from_the_dialog(visit: Callable[..., Any], lively: dict[str, Any]) -> None:
    fill(lively)
    page = visit("/dead-letters?error_class=timeout")
    page.get_by_role("button", name="Replay these 1…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Replay 1 dead letter?")
    assert "class timeout" in dialog.inner_text() and axe(page) == []
    dialog.get_by_label("Replay as new runs").check()
    dialog.get_by_label("Why").fill("the server is back")
    dialog.get_by_role("button", name="Replay 1", exact=True).click()
    page.get_by_role("heading", name="Replayed as new runs").wait_for()
    made = ReplayBatch.objects.latest("pk")
    assert (made.filter["error_class"], made.reason, made.total, made.rate) == ("timeout", "the server is back", 1, 60)
    assert page.complaints == []
