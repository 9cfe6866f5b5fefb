"""The pages of secrets in all their states: accessible, within the policy, fitting, on wide and phone."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from resources import connections, secret_versions, secrets
from resources.access import Actor
from resources.models import Secret
from tests.pages import seed
from tests.pages.test_browser import axe, lively, visit

__all__ = ["lively", "visit"]
pytestmark = pytest.mark.browser
ADMIN = Actor.system("tests")


@pytest.fixture
def root(lively: dict[str, Any]) -> str:
    """The name of an admin."""
    lively["people"]["root"] = seed.person("root", "Rut Root", ("admin",))
    return "root"


def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("hidden-value-0001", "hidden-value-0002", "hidden-value-0003", "hidden-value-0004"):
        secrets.set_secret(actor=ADMIN, name="github-hook", value=value, overlap=86400)
    secret_versions.revoke_version(actor=ADMIN, name="github-hook", version=2)
    secrets.set_reminder(actor=ADMIN, name="github-hook", days=90)
    secrets.set_secret(actor=ADMIN, name="old-token", value="hidden-value-old")
    secrets.set_reminder(actor=ADMIN, name="old-token", days=30)
    Secret.objects.filter(name="old-token").update(rotated_at=timezone.now() - timedelta(days=40))
    monkeypatch.setenv("ORCHESTRA_SECRET_DEPLOY", "hidden-value-env")
    place = {"variable": "ORCHESTRA_SECRET_DEPLOY"}
    secrets.point_secret(actor=ADMIN, name="deploy", source="env", locator=place)


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_the_pages_of_secrets_are_accessible_fit_and_show_no_value(
    size: str, visit: Callable[..., Any], root: str, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    theme = "light" if size == "wide" else "dark"
    page, problems = visit("/secrets", name=root, size=size, theme=theme), []
    stock(monkeypatch)
    for path in ("/secrets", "/secrets/github-hook/edit", "/secrets/deploy/edit", "/secrets/deploy/elsewhere",
                 "/secrets/new", "/secrets/new/elsewhere", "/system"):  # fmt: skip
        page.goto(live_server.url + path)
        problems += [f"{path}: {found}" for found in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{path}: wider than the screen")
        if "hidden-value" in page.content():
            problems.append(f"{path}: shows a value")
        if folder := os.environ.get("SHOTS"):
            page.screenshot(path=f"{folder}/{size}{path.replace('/', '_')}.png", full_page=True)
    assert problems + page.complaints == []


def test_a_place_in_vault_is_asked_for_field_by_field(visit: Callable[..., Any], root: str) -> None:
    page = visit("/secrets/new/elsewhere", name=root)
    assert page.get_by_label("Path").is_visible()
    assert not page.get_by_label("Variable").is_visible()
    page.get_by_label("Kept in").select_option("env")
    assert not page.get_by_label("Path").is_visible()
    page.get_by_label("Name").fill("deploy")
    page.get_by_label("Variable").fill("ORCHESTRA_SECRET_NOT_THERE")
    page.get_by_role("button", name="Read it from there").click()
    assert page.get_by_text("The environment has no ORCHESTRA_SECRET_NOT_THERE.").is_visible()
    page.complaints = [c for c in page.complaints if "422" not in c]
    assert page.complaints == []


KEY = "-----BEGIN PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\nhidden-value-of-a-key\n-----END PRIVATE KEY-----\n"


def test_a_pasted_key_keeps_its_lines_and_is_not_seen(visit: Callable[..., Any], root: str) -> None:
    page = visit("/secrets/new", name=root)
    page.get_by_label("Name").fill("bad name")
    page.get_by_role("textbox", name="New value").fill(KEY)
    page.get_by_role("button", name="Add the secret").click()
    assert "hidden-value" not in page.content()
    page.complaints.clear()
    page.get_by_label("Name").fill("ssh-key")
    field = page.get_by_role("textbox", name="New value")
    field.fill(KEY)
    assert field.evaluate("e => getComputedStyle(e).getPropertyValue('-webkit-text-security')") == "disc"
    page.get_by_role("button", name="Add the secret").click()
    page.get_by_text("ssh-key saved.").wait_for()
    assert secrets.reveal("ssh-key") == KEY.strip()
    assert secrets.get("ssh-key").last4 == ""
    assert page.complaints == []


def test_a_secret_is_added_beside_its_field_and_the_form_keeps_what_was_typed(
    visit: Callable[..., Any], root: str
) -> None:
    secrets.set_secret(actor=ADMIN, name="zulu", value="hidden-value-zulu")
    page = visit("/connections/new/http", name=root)
    page.get_by_role("textbox", name="Name", exact=True).fill("pager")
    page.locator("[name=base_url]").fill("https://pager.example.org")
    page.locator("[name=auth-type]").select_option("bearer")
    page.get_by_role("link", name="Add a secret for Secret").click()
    dialog = page.get_by_role("dialog", name="Add a secret")
    assert axe(page) == []
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=f"{folder}/add-secret.png")
    dialog.get_by_role("textbox", name="Name", exact=True).fill("bad name")
    dialog.get_by_role("textbox", name="Value").fill("hidden-value-0001")
    dialog.get_by_role("button", name="Add the secret").click()
    dialog.get_by_text("Use letters, digits").wait_for()
    page.complaints = [c for c in page.complaints if "422" not in c]
    dialog.get_by_role("textbox", name="Name", exact=True).fill("pager-token")
    dialog.get_by_role("button", name="Add the secret").click()
    dialog.wait_for(state="hidden")
    assert secrets.reveal("pager-token") == "hidden-value-0001"
    chosen = page.locator("select[data-secret]:focus")
    assert chosen.input_value() == "pager-token"
    assert chosen.locator("option").all_text_contents() == ["None", "pager-token", "zulu"]
    page.get_by_role("button", name="Add the connection").click()
    page.get_by_text("pager added.").wait_for()
    assert connections.resolve("pager").settings.model_dump()["auth"]["secret"] == "pager-token"
    assert page.complaints == []
