"""The pages of subscriptions in Chromium: accessible, within the policy, fitting the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from resources.access import Actor
from runs.models import Delivery, RunEvent, Subscription
from runs.outbound.destinations import Wanted
from runs.outbound.subscriptions import create_subscription, pause_subscription
from tests.pages import seed
from tests.pages.conftest import browser
from tests.pages.test_browser import axe, lively, visit

__all__ = ["browser", "lively", "visit"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
URL = "https://hooks.example.com/orchestra/events"


def fill(people: dict[str, Any]) -> int:
    """A lively subscription and a paused one; gives the id of a dead delivery."""
    people["boss"] = seed.person("boss", "Berta Boss", ("admin",))
    actor = Actor.of_user(people["boss"])
    for name in ("ops-alerts", "moved"):
        create_subscription(actor=actor, name=name, wanted=Wanted(types=("run.failed", "approval.*", "*"), url=URL))
    pause_subscription(actor=actor, name="moved", note="The receiver moves to another host.")
    now, row = time.time(), Subscription.objects.get(name="ops-alerts")
    tries = [{"at": now - 60, "status": 503, "error": "Answered 503.", "seconds": 0.25}]
    common = {"subscription": row, "since": now, "created_at": now, "tries": tries, "excerpt": "come back later"}
    for n, event in enumerate(RunEvent.objects.all()[:6]):
        status = ("delivered", "dead", "pending")[n % 3]
        wake_at = now + 900 if status == "pending" else None
        Delivery.objects.create(event=event, type=event.type, status=status, wake_at=wake_at, attempts=n, **common)
    return int(Delivery.objects.filter(status="dead").values_list("pk", flat=True)[0])


@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("phone", "dark")])
def test_every_page_is_accessible_fits_and_keeps_the_policy(
    size: str, theme: str, visit: Callable[..., Any], live_server: Any, lively: dict[str, Any]
) -> None:
    dead, problems = fill(lively["people"]), []
    page = visit("/subscriptions", name="boss", size=size, theme=theme)
    for path in ("", "/new", "/ops-alerts", "/moved", f"/ops-alerts/deliveries/{dead}"):
        page.goto(f"{live_server.url}/subscriptions{path}")
        page.evaluate("document.querySelectorAll('main details').forEach((d) => { d.open = true })")
        problems += [f"{path}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{path}: wider than the screen")
    assert problems + page.complaints == []
