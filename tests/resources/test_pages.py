"""The pages of connections, secrets and resources, used as a browser without JavaScript would."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from resources import connections, secrets
from resources.access import Actor
from resources.models import Connection, Secret
from tests.resources.server import plain, serve

URL = "https://api.example.com/v1"
FORM = {"name": "ci", "base_url": URL, "auth-type": "none"}


@pytest.fixture(autouse=True)
def this_layer_alone(settings: Any, tmp_path: Path) -> None:
    settings.ROOT_URLCONF = "tests.resources.web"
    settings.CSRF_FAILURE_VIEW = "django.views.csrf.csrf_failure"  # ours is the root's
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.resources.web.ErrorsAsStatus"]
    templates = copy.deepcopy(settings.TEMPLATES)
    templates[0]["DIRS"] = [Path(__file__).parent / "templates"]
    templates[0]["OPTIONS"]["context_processors"] = [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]
    settings.TEMPLATES = templates
    settings.MEDIA_ROOT = tmp_path


def browser(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


GETS = [
    "/connections", "/connections/new", "/connections/new/http", "/connections/ci/edit", "/secrets", "/secrets/new",
    "/secrets/token/edit", "/secrets/new/elsewhere", "/secrets/token/elsewhere",
]  # fmt: skip
POSTS = [
    ("/connections/new/http", {**FORM, "name": "other"}),
    ("/connections/ci/edit", {**FORM, "base_url": URL + "/x"}),
    ("/connections/ci/test", {}),
    ("/connections/ci/delete", {}),
    ("/secrets/new", {"name": "other", "value": "value"}),
    ("/secrets/token/edit", {"value": "another-value"}),
    ("/secrets/token/elsewhere", {"source": "env", "variable": "ORCHESTRA_SECRET_PAGES"}),
    ("/secrets/token/reminder", {"rotate_days": "30"}),
    ("/secrets/token/versions/1/revoke", {}),
    ("/secrets/token/versions/1/restore", {}),
    ("/secrets/token/delete", {}),
]


@pytest.fixture
def one_of_each(admin: Actor) -> None:
    connections.create_connection(actor=admin, name="ci", kind="http", settings={"base_url": URL})
    secrets.set_secret(actor=admin, name="token", value="hidden-value-1234")


@pytest.mark.django_db
@pytest.mark.parametrize("address", GETS + [post for post, _ in POSTS])
def test_strangers_are_sent_to_sign_in(address: str) -> None:
    response = Client().get(address)
    assert (response.status_code, response["Location"]) == (302, f"/login?next={address}")


@pytest.mark.parametrize("address", GETS)
def test_viewers_see_the_lists_and_no_form(one_of_each: None, viewer: Actor, address: str) -> None:
    assert browser(viewer).get(address).status_code == (200 if address in ("/connections", "/secrets") else 403)


def test_people_without_a_role_see_nothing(one_of_each: None, outsider: Actor) -> None:
    assert {browser(outsider).get(address).status_code for address in GETS} == {403}


@pytest.mark.parametrize(("address", "data"), POSTS)
def test_only_admins_change_anything(one_of_each: None, author: Actor, address: str, data: dict[str, str]) -> None:
    assert browser(author).post(address, data).status_code == 403
    assert connections.resolve("ci").version == 1
    assert secrets.reveal("token") == "hidden-value-1234"
    assert (Connection.objects.count(), Secret.objects.count()) == (1, 1)


ONLY_POST = ("test", "delete", "reminder", "revoke", "restore")


@pytest.mark.parametrize("address", [address for address, _ in POSTS if address.endswith(ONLY_POST)])
def test_a_get_changes_nothing(one_of_each: None, admin: Actor, address: str) -> None:
    assert browser(admin).get(address).status_code == 405


@pytest.mark.parametrize(("address", "data"), POSTS)
def test_a_post_needs_its_csrf_token(one_of_each: None, admin: Actor, address: str, data: dict[str, str]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin.user)
    assert client.post(address, data).status_code == 403
    assert connections.resolve("ci").version == 1


def test_empty_lists_say_what_would_be_there(admin: Actor, viewer: Actor) -> None:
    assert "No connections yet" in text(browser(admin).get("/connections"))
    assert "An admin can add one" in text(browser(viewer).get("/secrets"))


def test_a_connection_is_added_changed_and_deleted(admin: Actor) -> None:
    client = browser(admin)
    secrets.set_secret(actor=admin, name="token", value="hidden-value-1234")
    data = {
        **FORM,
        "auth-type": "bearer",
        "auth-secret": "token",
        "headers": "X-Team: payments\r\n\r\nX-Two: a:b",
        "allow_networks": "10.1.0.0/16\r\n",
        "honours_idempotency_key": "on",
    }
    response = client.post("/connections/new/http", data)
    assert (response.status_code, response["Location"]) == (302, "/connections/ci/edit")
    settings: Any = connections.resolve("ci").settings
    assert settings.headers == {"X-Team": "payments", "X-Two": "a:b"}
    assert (settings.allow_networks, settings.honours_idempotency_key) == (("10.1.0.0/16",), True)
    page = text(client.get("/connections/ci/edit"))
    assert "X-Two: a:b" in page and "ci added." in page and "hidden-value" not in page
    client.post("/connections/ci/edit", FORM)
    assert connections.resolve("ci").version == 2
    settings = connections.resolve("ci").settings
    assert settings.auth.type == "none"
    assert "ci deleted." in text(client.post("/connections/ci/delete", follow=True))
    assert not Connection.objects.exists()


WRONG = [
    ({"name": "Bad Name"}, "id_name-error"),
    ({"name": ""}, "id_name-error"),
    ({"base_url": "ftp://x"}, "id_base_url-error"),
    ({"auth-type": "bearer"}, "id_auth-secret-error"),
    ({"auth-type": "basic", "auth-secret": "token"}, "id_auth-username-error"),
    ({"auth-type": "other"}, "id_auth-type-error"),
    ({"allow_networks": "all"}, "id_allow_networks-error"),
    ({"headers": "no colon"}, "id_headers-error"),
    ({"headers": "Authorization: Bearer x"}, "id_headers-error"),
    ({"name": "taken"}, "There is a connection taken already."),
]


@pytest.mark.parametrize(("change", "shown"), WRONG, ids=[str(change) for change, _ in WRONG])
def test_mistakes_are_shown_at_their_field_and_what_was_typed_stays(
    admin: Actor, change: dict[str, str], shown: str
) -> None:
    secrets.set_secret(actor=admin, name="token", value="hidden-value-1234")
    connections.create_connection(actor=admin, name="taken", kind="http", settings={"base_url": URL})
    response = browser(admin).post("/connections/new/http", {**FORM, **change})
    assert response.status_code == 422
    assert shown in text(response)
    assert change.get("base_url", URL) in text(response)
    assert Connection.objects.count() == 1


def test_names_cannot_write_markup(admin: Actor) -> None:
    page = text(browser(admin).post("/connections/new/http", {**FORM, "name": "<script>alert(1)</script>"}))
    assert "<script>" not in page


def test_trying_a_connection_shows_the_answer(admin: Actor) -> None:
    with serve({"/v1": plain(200)}) as server:
        settings = {"base_url": server.url("/v1"), "allow_networks": ["127.0.0.0/8"]}
        connections.create_connection(actor=admin, name="ci", kind="http", settings=settings)
        page = text(browser(admin).post("/connections/ci/test", follow=True))
    assert "Answered 200" in page


def test_a_secret_is_set_and_rotated_and_never_comes_back(admin: Actor) -> None:
    client = browser(admin)
    pages = [client.post("/secrets/new", {"name": "token", "value": "hidden-value-1234"}, follow=True)]
    pages.append(client.get("/secrets/token/edit"))
    again = client.post("/secrets/new", {"name": "token", "value": "hidden-again-1234"})
    assert again.status_code == 422
    assert "There is a secret token already." in text(again)
    pages += [again, client.post("/secrets/token/edit", {"value": ""})]
    assert pages[-1].status_code == 422
    pages.append(client.post("/secrets/token/edit", {"value": "hidden-two-9876"}, follow=True))
    assert secrets.reveal("token") == "hidden-two-9876"
    assert "…9876" in text(pages[-1])
    values = ("hidden-value-1234", "hidden-again-1234", "hidden-two-9876")
    assert not [value for value in values for page in pages if value in text(page)]
    assert "token deleted." in text(client.post("/secrets/token/delete", follow=True))


def test_what_is_in_use_is_not_deleted_and_says_by_whom(one_of_each: None, admin: Actor) -> None:
    settings = {"base_url": URL, "auth": {"type": "bearer", "secret": "token"}}
    connections.update_connection(actor=admin, name="ci", settings=settings)
    page = text(browser(admin).post("/secrets/token/delete", follow=True))
    assert "token is used by connection ci." in page
    assert Secret.objects.exists()
