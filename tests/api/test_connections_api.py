"""Connections through the API: what their pages can do, with the same permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resources import secrets, usage
from resources.access import Actor
from resources.kinds import KINDS
from resources.models import AuditEntry, Connection
from tests.api.conftest import Caller
from tests.api.test_api import fails
from tests.resources.server import plain, serve

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
URL = "https://api.example.com/v1"


@pytest.fixture
def root(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("root", "admin", ""))


@pytest.fixture
def reader(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("reader", "viewer", "payments"))


def body(**settings: Any) -> dict[str, Any]:
    return {"name": "ci", "kind": "http", "settings": {"base_url": URL, **settings}}


def test_a_connection_is_made_read_changed_and_deleted(root: Caller) -> None:
    secrets.set_secret(actor=Actor.system("test"), name="token", value="hidden-value-1234")
    made = root("POST", "/connections", body(auth={"type": "bearer", "secret": "token"}))
    assert made.status_code == 201
    assert (made.json()["address"], made.json()["secrets"], made.json()["version"]) == (URL, ["token"], 1)
    fails(root("POST", "/connections", body()), 409, "connection_exists")
    root("PUT", "/connections/ci/limits", {"concurrency": 3})
    put = root("PUT", "/connections/ci", {"settings": {"base_url": URL + "/x"}}).json()
    assert (put["version"], put["settings"]["auth"], put["settings"]["limits"]["concurrency"]) == (
        2,
        {"type": "none"},
        3,
    )
    assert root("GET", "/connections/ci").json() == put
    assert root("DELETE", "/connections/ci").status_code == 204
    fails(root("GET", "/connections/ci"), 404, "connection_not_found")
    actions = AuditEntry.objects.filter(object_type="connection").order_by("seq").values_list("action", flat=True)
    assert [*actions][-1] == "connection.deleted"


def test_lists_go_by_name_page_by_page_and_show_settings_to_admins_only(root: Caller, reader: Caller) -> None:
    for name in ("b", "a", "c"):
        root("POST", "/connections", {**body(), "name": name})
    first = root("GET", "/connections?limit=2").json()
    rest = root("GET", f"/connections?limit=2&cursor={first['next_cursor']}").json()
    assert [c["name"] for c in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None
    assert {c["settings"] is None for c in reader("GET", "/connections").json()["items"]} == {True}
    assert first["items"][0]["settings"]["base_url"] == URL
    assert root("GET", "/connections?kind=nothing").json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [("POST", "/connections", body()), ("PUT", "/connections/ci", {"settings": {}}),
     ("DELETE", "/connections/ci", None), ("POST", "/connections/ci/test", None),
     ("GET", "/connections/ci/usage", None)],
)  # fmt: skip
def test_only_admins_change_and_try(root: Caller, reader: Caller, method: str, path: str, sent: Any) -> None:
    root("POST", "/connections", body())
    fails(reader(method, path, sent), 403, "not_allowed")
    assert Connection.objects.get().version == 1


@pytest.mark.parametrize(
    ("settings", "path"),
    [({"base_url": "ftp://x"}, "base_url"), ({"auth": {"type": "basic"}}, "auth.username"), ({"more": 1}, "more"),
     ({"auth": {"type": "bearer", "secret": "nope"}}, "auth.secret"), ({"auth": {"type": "x\0"}}, "")],
)  # fmt: skip
def test_mistakes_name_their_setting(root: Caller, settings: dict[str, Any], path: str) -> None:
    answer = root("POST", "/connections", body(**settings))
    assert fails(answer, 422, "bad_input")["details"][0]["path"] == path


def test_a_connection_is_tried(root: Caller) -> None:
    with serve({"/v1": plain(200)}) as server:
        root("POST", "/connections", body(base_url=server.url("/v1"), allow_networks=["127.0.0.0/8"]))
        tried = root("POST", "/connections/ci/test").json()
    assert tried["ok"] and "Answered 200" in tried["message"]


def test_what_uses_it_is_told_and_keeps_it(root: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    root("POST", "/connections", body())
    finders = {"connection": [lambda name: [f"flow uses-{name}"]], "secret": []}
    monkeypatch.setattr(usage, "_finders", finders)
    used = {"items": [{"label": "flow uses-ci", "url": "", "blocks": True}]}
    assert root("GET", "/connections/ci/usage").json() == used
    assert fails(root("DELETE", "/connections/ci"), 409, "in_use")["details"] == ["flow uses-ci"]


def test_the_kinds_come_with_the_schema_of_their_settings(reader: Caller) -> None:
    kinds = {kind["name"]: kind for kind in reader("GET", "/connection-kinds").json()["items"]}
    assert set(kinds) == set(KINDS)
    assert "base_url" in kinds["http"]["settings_schema"]["required"]
