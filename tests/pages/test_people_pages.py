"""Pages of people, groups, roles and tokens: what each shows, and what a form leaves behind."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from resources.access import Actor
from resources.models import ApiToken, Grant, Role
from resources.tokens import authenticate, create_token
from tests.resources.conftest import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


def entered(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root() -> Client:
    return entered(make_user("root", "admin"))


def page(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, answer.content[:300]
    return re.sub(r"\s+", " ", answer.content.decode())


def test_somebody_is_invited_chooses_a_password_and_signs_in(root: Client) -> None:
    shown = root.post("/people/new", {"name": "nina", "email": "nina@example.org"}).content.decode()
    link = re.search(r"http://[^<\s]+(/invitations/[^<\s]+)", shown)
    assert link is not None and link[1] not in page(root, "/people/nina")
    stranger = Client()
    assert "for nina" in page(stranger, link[1])
    differing = stranger.post(link[1], {"password": "a quiet harbour", "again": "a loud harbour"})
    assert differing.status_code == 422 and "differ" in differing.content.decode()
    short = stranger.post(link[1], {"password": "short", "again": "short"})
    assert short.status_code == 422 and "too short" in short.content.decode()
    done = stranger.post(link[1], {"password": "a quiet harbour", "again": "a quiet harbour"})
    assert done["Location"] == "/login" and Client().login(username="nina", password="a quiet harbour")
    assert "was used" in page(stranger, link[1], 410)
    assert stranger.get(link[1])["Referrer-Policy"] == "strict-origin"


def test_a_name_that_is_taken_is_told_where_it_was_typed(root: Client) -> None:
    answer = root.post("/people/new", {"name": "ROOT", "full_name": "Another"})
    assert answer.status_code == 409 and "There is a ROOT already" in answer.content.decode()
    assert 'value="Another"' in answer.content.decode()


def test_a_role_is_given_with_a_reason_and_taken_back(root: Client) -> None:
    nina = make_user("nina")
    assert "No role" in page(root, "/people/nina")
    root.post("/access/roles", {"user": "nina", "role": "operator", "folder": "pay/", "reason": "on call"})
    grant = Grant.objects.get(user=nina)
    assert (grant.role, grant.folder, grant.reason) == ("operator", "pay", "on call")
    assert "on call" in page(root, "/people/nina") and "operator on pay" in page(root, "/access?folder=pay/eu")
    assert "operator on pay" in page(entered(nina), "/account")
    root.post(f"/access/roles/{grant.pk}/remove", {"user": "nina"})
    assert not Grant.objects.filter(user=nina).exists()


def test_the_last_admin_is_told_why_they_stay(root: Client) -> None:
    grant = Grant.objects.get()
    answer = root.post(f"/access/roles/{grant.pk}/remove", {"user": "root"}, follow=True)
    assert "Nobody would administer everything" in answer.content.decode() and Grant.objects.exists()


def test_an_admin_of_a_folder_sees_names_and_the_roles_there_and_nothing_else(root: Client) -> None:
    make_user("nina", "operator", folder="pay")
    make_user("otto", "author", folder="other")
    User.objects.filter(username="nina").update(email="nina@example.org")
    deputy = entered(make_user("deputy", "admin", folder="pay"))
    text = page(deputy, "/people")
    assert "nina" in text and "otto" in text and "author" not in text and "nina@example.org" not in text
    assert "Invite" not in text and "Reset" not in page(deputy, "/people/nina")
    assert "operator on pay" in page(deputy, "/access")
    assert "needs the role admin" in page(deputy, "/access?folder=", 403)
    assert "nina" not in page(deputy, "/people?q=zzz") and "Nobody matches" in page(deputy, "/people?q=zzz")
    for address in ("/people", "/groups", "/access", "/people/nina"):
        page(entered(User.objects.get(username="otto")), address, 403)


def test_people_are_switched_off_and_on_signed_out_and_reset(root: Client) -> None:
    nina = make_user("nina", "viewer")
    here = entered(nina)
    assert page(here, "/account")
    root.post("/people/nina/sign-out", {})
    assert here.get("/account").status_code == 302
    assert "/invitations/" in root.post("/people/nina/reset", {}).content.decode()
    root.post("/people/nina/deactivate", {"reason": "left"})
    assert not User.objects.get(pk=nina.pk).is_active and "Switched off" in page(root, "/people")
    assert "switched off" in root.post("/people/nina/reset", {}, follow=True).content.decode()
    root.post("/people/nina/reactivate", {})
    assert User.objects.get(pk=nina.pk).is_active
    assert root.post("/people/nina/explode", {}).status_code == 404
    root.post("/people/nina/edit", {"full_name": "Nina Ny", "email": "n@example.org"})
    assert "Nina Ny" in page(root, "/people")


def test_a_group_is_made_filled_given_a_role_and_deleted(root: Client) -> None:
    assert "No groups yet" in page(root, "/groups")
    make_user("nina")
    root.post("/groups/new", {"name": "on call"})
    assert "nobody called" in root.post("/groups/on call/members", {"member": "x"}, follow=True).content.decode()
    root.post("/groups/on call/members", {"member": "nina"})
    root.post("/access/roles", {"group": "on call", "role": "reviewer", "folder": "pay"})
    assert "reviewer on pay, through the group on call" in page(root, "/access?folder=pay")
    root.post("/groups/on call/members/nina/remove", {})
    assert "Nobody is in it" in page(root, "/groups")
    root.post("/groups/on call/delete", {})
    assert not Group.objects.exists() and not Grant.objects.filter(group__isnull=False).exists()


def test_a_password_is_changed_and_other_sessions_end() -> None:
    nina = make_user("nina", "viewer")
    here, there = entered(nina), entered(nina)
    assert "1 other place" in page(here, "/account")
    sent = {"current": "correct horse", "password": "a quiet harbour", "again": "a quiet harbour"}
    wrong = here.post("/account/password", sent | {"current": "x"})
    assert wrong.status_code == 422 and "not your password" in wrong.content.decode()
    assert here.post("/account/password", sent).status_code == 302
    assert "here only" in page(here, "/account") and there.get("/account").status_code == 302


def test_guessing_the_current_password_is_stopped() -> None:
    here = entered(make_user("nina"))
    sent = {"current": "x", "password": "a quiet harbour", "again": "a quiet harbour"}
    found = [here.post("/account/password", sent).status_code for _ in range(11)]
    assert found == [422] * 10 + [429]
    assert here.post("/account/password", sent | {"current": "correct horse"}).status_code == 429


def test_a_token_is_made_shown_once_and_revoked() -> None:
    nina = make_user("nina", "operator", folder="pay")
    here = entered(nina)
    assert "No tokens yet" in page(here, "/tokens")
    made = here.post("/tokens/new", {"name": "ci", "scopes": "operator:pay/eu, viewer:pay", "days": "5"})
    plain = re.search(r"orc_[\w-]{43}", made.content.decode())
    assert plain is not None and plain[0] not in page(here, "/tokens") and "operator:pay/eu" in page(here, "/tokens")
    assert authenticate(plain[0], address="192.0.2.9") is not None and "from 192.0.2.9" in page(here, "/tokens")
    for bad, said in (({"scopes": "admin"}, "does not have the role"), ({"days": "9999"}, "lives 1 to"),
                      ({"days": "soon"}, "whole days"), ({"name": ""}, "has 1 to 100")):  # fmt: skip
        answer = here.post("/tokens/new", {"name": "x", **bad})
        assert answer.status_code == 422 and said in answer.content.decode()
    here.post(f"/tokens/{ApiToken.objects.get().pk}/revoke")
    assert authenticate(plain[0]) is None


def test_a_token_that_ends_soon_or_has_ended_says_so(root: Client) -> None:
    nina = make_user("nina", "viewer")
    for name, days in (("soon", 3), ("over", -2), ("forgotten", -40)):
        ends = timezone.now() + timedelta(days=days)
        create_token(actor=Actor.system("test"), user=nina, name=name, expires_at=ends)
    text = page(entered(nina), "/tokens")
    assert 'data-tone="wait"' in text and "Ended" in text and "forgotten" not in text
    assert "soon" in page(root, "/tokens")
    root.post(f"/tokens/{ApiToken.objects.get(name='soon').pk}/revoke", follow=True)  # which says so
    assert "soon" not in page(root, "/tokens")


def hidden(client: Client, address: str, **sent: Any) -> int:
    return int(client.post(address, sent).status_code)


def test_somebody_without_a_role_changes_nobody(root: Client) -> None:
    otto = entered(make_user("otto"))
    assert {hidden(otto, "/people/new", name="x"), hidden(otto, "/people/root/reset")} == {403}
    assert hidden(otto, "/access/roles", user="otto", role="admin") == 403
    assert hidden(otto, f"/access/roles/{Grant.objects.get().pk}/remove") == 404
    assert User.objects.count() == 2


@pytest.mark.parametrize("role", Role.values)
def test_every_role_is_given_over_the_api_too(root: Client, role: str) -> None:
    make_user("nina")
    body = {"role": role, "folder": "pay", "user": "nina"}
    answer = root.post("/api/v1/grants", body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert Grant.objects.get(user__username="nina").role == role
