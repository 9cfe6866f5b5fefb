"""The page of a request: it shows exactly what will happen, and posts decisions to the one action there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from approvals import views
from resources.errors import BadInput, Conflict, NotAllowed
from tests.pages import seed

SignIn = Callable[[str], Client]
pytestmark = pytest.mark.db_matrix


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch, place: dict[str, Any]) -> list[dict[str, Any]]:
    """Stands for the action: notes what it was called with; tests of approvals cover the real one."""
    calls: list[dict[str, Any]] = []

    def decide(**asked: Any) -> Any:
        calls.append(asked)
        return place["main"]

    monkeypatch.setattr(views, "decide_request", decide)
    return calls


def test_the_page_shows_the_sentences_the_payload_its_digest_and_what_changed(
    sign_in: SignIn, place: dict[str, Any]
) -> None:
    page = sign_in("ana").get(f"/approvals/{place['main'].pk}").content.decode()
    assert "POST https://deploy.example/deploy with version 4.2.0" in page
    assert "Cannot be undone." in page
    assert f'data-digest="{place["main"].digest}"' in page
    assert "Changed since the last approved run" in page
    assert "<del>" in page and "4.1.3" in page
    assert "&lt;script&gt;no&lt;/script&gt;" in page, "the summary's markup must be escaped"


def test_an_approval_carries_the_digest_that_was_shown(
    sign_in: SignIn, place: dict[str, Any], decided: list[dict[str, Any]]
) -> None:
    data = {"verdict": "approve", "digest": place["main"].digest, "comment": "Read it.", "confirm": "release-service"}
    answer = sign_in("ana").post(f"/approvals/{place['main'].pk}/decide", data)
    assert answer.status_code == 302
    asked = decided[0]
    assert (asked["verdict"], asked["digest"], asked["comment"]) == ("approve", place["main"].digest, "Read it.")
    assert asked["actor"].name == "ana"


@pytest.mark.parametrize("typed", ["", "release", "Release-Service"])
def test_an_irreversible_approval_without_the_targets_name_is_not_sent(
    typed: str, sign_in: SignIn, place: dict[str, Any], decided: list[dict[str, Any]]
) -> None:
    data = {"verdict": "approve", "digest": place["main"].digest, "confirm": typed}
    answer = sign_in("ana").post(f"/approvals/{place['main'].pk}/decide", data)
    assert answer.status_code == 422
    assert "Type release-service to confirm" in answer.content.decode()
    assert decided == []


def test_the_forms_values_are_sent_in_their_types(
    sign_in: SignIn, place: dict[str, Any], decided: list[dict[str, Any]]
) -> None:
    data = {"verdict": "approve", "digest": "d", "form-window": "tonight", "form-pause": "20", "form-tell": "on"}
    sign_in("ana").post(f"/approvals/{place['plain'].pk}/decide", data)
    assert decided[0]["form"] == {"window": "tonight", "pause": 20, "tell": True}


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Conflict("It changed.", code="stale_digest"), 302, "your decision was not recorded"),
        (NotAllowed("You started it."), 302, "You started it."),
        (BadInput("No.", details=[{"path": "window", "message": "is wrong"}]), 422, "is wrong"),
    ],
)
def test_a_refusal_is_said_on_the_page(
    error: Exception, status: int, said: str, sign_in: SignIn, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**asked: Any) -> None:
        raise error

    monkeypatch.setattr(views, "decide_request", refuse)
    client = sign_in("ana")
    data = {"verdict": "reject", "digest": "old", "comment": "no"}
    answer = client.post(f"/approvals/{place['main'].pk}/decide", data)
    assert answer.status_code == status
    page = client.get(answer.headers["Location"]) if status == 302 else answer
    assert said in page.content.decode()


@pytest.mark.parametrize(("name", "why"), [("mira", "reviewer role"), ("jonas", "decided already")])
def test_who_may_not_decide_is_told_why_and_gets_no_form(
    name: str, why: str, sign_in: SignIn, place: dict[str, Any]
) -> None:
    page = sign_in(name).get(f"/approvals/{place['main'].pk}").content.decode()
    assert why in page
    assert 'name="verdict"' not in page


def test_a_request_decided_elsewhere_says_by_whom_and_blocks_its_buttons(
    sign_in: SignIn, place: dict[str, Any]
) -> None:
    client, row = sign_in("ana"), place["urgent"]
    seed.vote(row, place["people"]["jonas"])
    row.status, row.closed_at = "approved", row.created_at + 5
    row.save(update_fields=["status", "closed_at"])
    headers = {"HX-Request": "true", "HX-Target": "request-live"}
    part = client.get(f"/approvals/{row.pk}", headers=headers).content.decode()
    assert 'data-status="approved"' in part
    assert "Approved by Jonas Lindqvist" in part
    assert 'id="decide-bar" hx-swap-oob="true"' in part
    assert 'commandfor="confirm"' not in part


def test_get_never_decides(sign_in: SignIn, place: dict[str, Any], decided: list[dict[str, Any]]) -> None:
    assert sign_in("ana").get(f"/approvals/{place['main'].pk}/decide?verdict=approve").status_code == 405
    assert decided == []


def test_another_answer_changes_what_the_confirmation_says_will_happen_too(
    sign_in: SignIn, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "DELETE FROM orders\nWHERE id < 3"
    action = {"step": "act", "family": "db", "sentence": "Drains shop", "config": {"statements": [text]}}
    monkeypatch.setattr(views, "preview", lambda **_: ([action], "d" * 64))
    row = place["plain"]
    page = sign_in("ana").get(reverse("approval-effect", args=[row.pk]), {"form-window": "now"}).content.decode()
    effect, _, dialog = page.partition('id="confirm-facts" hx-swap-oob="true"')
    assert "Drains shop" in effect and "Drains shop" in dialog
    assert "sha256:dddddddd" in dialog
    assert f"<code>{text.replace('<', '&lt;')}</code>" in effect, "as it is written, not in one line"
