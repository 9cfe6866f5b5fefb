"""The pages of the audit log in a browser: nothing wrong in any look, and the keyboard leads through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resources.models import AuditEntry
from tests.audit.conftest import note, tamper
from tests.pages import seed
from tests.pages.looking import looked_at
from tests.pages.test_browser import lively, visit

pytestmark = pytest.mark.browser
__all__ = ["lively", "visit"]  # fixtures
PATHS = {"list": "/audit", "nothing found": "/audit?q=zzz", "entry": "/audit/2", "check": "/audit/check"}


@pytest.fixture
def admin(lively: dict[str, Any]) -> str:
    lively["people"]["root"] = seed.person("root", "Root", ("admin",))
    note("flow.created", "greet", folder="payments")
    before = {"base_url": "https://a.example/" + "x" * 200, "limits": {"rate": {"count": 3}}}
    note("connection.updated", before=before, after={"base_url": "https://b.example"}, reason="the host moved " * 9)
    for n in range(60):
        note("flow.moved", f"flow-{n}", before={"folder": "a"}, after={"folder": "b"}, reason="as agreed")
    return "root"


@pytest.mark.parametrize(("theme", "size"), [("light", "wide"), ("dark", "phone")])
def test_whole_and_broken_the_pages_are_accessible_fit_and_keep_the_policy(
    theme: str, size: str, visit: Callable[..., Any], live_server: Any, admin: str
) -> None:
    page = visit("/audit", name=admin, theme=theme, size=size)
    problems = looked_at(page, live_server.url, PATHS, f"audit-{theme}-{size}-whole")
    tamper("UPDATE resources_auditentry SET actor = 'mallory' WHERE seq IN (2, 60)")
    problems += looked_at(page, live_server.url, PATHS, f"audit-{theme}-{size}-broken")
    assert problems + page.complaints == []


def test_the_keyboard_leads_to_an_entry_on_to_the_next_and_back(visit: Callable[..., Any], admin: str) -> None:
    page = visit("/runs", name=admin)
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url("**/audit")
    last = AuditEntry.objects.order_by("-seq")[1].seq
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/audit/{last}")
    page.keyboard.press("Escape")
    page.wait_for_url("**/audit")
    page.keyboard.press("/")
    page.keyboard.type("host moved")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=host+moved**")
    assert page.locator("[data-item]").all_inner_texts() == ["connection.updated"]
    assert page.complaints == []
