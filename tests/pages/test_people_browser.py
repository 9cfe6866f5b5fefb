"""The pages of people in a browser: nothing wrong in any look, and the keyboard leads through them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from resources.access import Actor
from resources.grants import grant_role
from resources.people import accounts, groups
from resources.tokens import create_token
from tests.pages import seed
from tests.pages.looking import looked_at
from tests.pages.test_browser import axe, lively, visit

pytestmark = pytest.mark.browser
__all__ = ["lively", "visit"]  # fixtures
SYSTEM = Actor.system("tests")
PATHS = {
    "people": "/people", "nobody": "/people?q=zzz", "person": "/people/nina", "groups": "/groups",
    "access": "/access?folder=payments/eu", "refused": "/access?folder=-", "account": "/account", "tokens": "/tokens",
}  # fmt: skip


@pytest.fixture
def root(lively: dict[str, Any]) -> str:
    person = seed.person("root", "Root", ("admin",))
    lively["people"]["root"] = person
    nina = accounts.invite_person(actor=SYSTEM, name="nina", email="nina@example.org", full_name="Nina Nystrøm")
    for name in ("crew", "empty group with rather a long name"):
        groups.create_group(actor=SYSTEM, name=name)
    groups.add_member(actor=SYSTEM, name="crew", member="nina")
    crew = groups.find("crew")
    grant_role(actor=SYSTEM, role="reviewer", folder="payments", group=crew, reason="because they know it " * 5)
    for folder in ("payments", "payments/eu", "other/" + "x" * 80):
        grant_role(actor=SYSTEM, role="operator", folder=folder, user=nina, reason="on call")
    for user, scope in ((person, "operator:payments"), (person, ""), (nina, "operator:payments/eu")):
        create_token(actor=Actor.of_user(user), user=user, name="nightly script", scopes=[scope] if scope else [])
    return "root"


def dialogs(page: Any, base: str) -> list[str]:
    problems = []
    for path in ("/people", "/people/nina", "/groups", "/tokens"):
        page.goto(base + path)
        for button in page.locator("button[command='show-modal'][commandfor]:visible").all():
            name = button.get_attribute("commandfor")
            button.click()
            assert page.evaluate("(name) => document.getElementById(name).open === true", name), name
            if os.environ.get("SHOTS"):
                page.screenshot(path=f"{os.environ['SHOTS']}/people-dialog-{name}.png")
            problems += [f"{name}: {p}" for p in axe(page)]
            page.keyboard.press("Escape")
    return problems


@pytest.mark.parametrize(("theme", "size"), [("light", "wide"), ("dark", "phone")])
def test_the_pages_are_accessible_fit_and_keep_the_policy(
    theme: str, size: str, visit: Callable[..., Any], live_server: Any, root: str
) -> None:
    page = visit("/people", name=root, theme=theme, size=size)
    problems = looked_at(page, live_server.url, PATHS, f"people-{theme}-{size}")
    if size == "phone":
        problems += dialogs(page, live_server.url)
    link = accounts.link_for(accounts.find("nina")).partition("/invitations/")[2]
    page.goto(f"{live_server.url}/invitations/{link}")
    problems += [f"invitation: {p}" for p in axe(page)]
    if os.environ.get("SHOTS"):
        page.screenshot(path=f"{os.environ['SHOTS']}/people-{theme}-{size}-invitation.png", full_page=True)
    expected = "status of 422"  # a folder that there cannot be
    assert problems + [c for c in page.complaints if expected not in c] == []


def test_who_was_invited_chooses_a_password_in_a_real_browser(
    visit: Callable[..., Any], live_server: Any, root: str
) -> None:
    page = visit("/account", name=root)
    link = accounts.link_for(accounts.find("nina")).partition("/invitations/")[2]
    page.goto(f"{live_server.url}/invitations/{link}")
    for field in page.locator("input[type=password]").all():
        field.fill("a quiet harbour")
    page.get_by_role("button", name="Set the password").click()
    page.get_by_text("Your password is set.").wait_for()
    assert accounts.find("nina").check_password("a quiet harbour")
    assert page.complaints == []


def test_the_keyboard_leads_to_people_to_a_person_and_back(visit: Callable[..., Any], root: str) -> None:
    page = visit("/runs", name=root)
    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url("**/people")
    page.keyboard.press("/")
    page.keyboard.type("nina")
    page.keyboard.press("Enter")
    page.wait_for_url("**/people?q=nina")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/people/nina")
    page.keyboard.press("Escape")
    page.wait_for_url("**/people")
    assert page.complaints == []
