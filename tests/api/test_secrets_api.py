"""Secrets through the API: what their pages can do, with the same permissions, and never a value back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resources import connections, secrets
from resources.access import Actor
from resources.models import Secret
from tests.api.conftest import Caller
from tests.api.test_api import fails

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


@pytest.fixture
def root(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("root", "admin", ""))


@pytest.fixture
def reader(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("reader", "viewer", "payments"))


def test_a_secret_is_set_rotated_restored_revoked_and_deleted(root: Caller) -> None:
    answers = [root("PUT", "/secrets/hook", {"value": "hidden-value-1234"})]
    assert answers[0].json()["version"] == 1
    fails(root("PUT", "/secrets/hook", {"value": "hidden-x", "new": True}), 409, "secret_exists")
    answers.append(root("PUT", "/secrets/hook", {"value": "hidden-value-9876", "overlap": 3600}))
    assert [(v["version"], v["state"], v["created_by"]) for v in answers[1].json()["versions"]] == [
        (2, "current", "root"), (1, "accepted", "root"),
    ]  # fmt: skip
    assert secrets.reveal_all("hook") == ["hidden-value-9876", "hidden-value-1234"]
    answers.append(root("POST", "/secrets/hook/versions/1/restore", {}))
    assert secrets.reveal("hook") == "hidden-value-1234"
    answers.append(root("POST", "/secrets/hook/versions/2/revoke"))
    assert [v["state"] for v in answers[-1].json()["versions"]] == ["current", "revoked", "accepted"]
    answers.append(root("PUT", "/secrets/hook/reminder", {"rotate_days": 30}))
    assert (answers[-1].json()["rotation"], answers[-1].json()["rotate_days"]) == ("fresh", 30)
    answers += [root("GET", "/secrets"), root("GET", "/secrets/hook")]
    assert all("hidden" not in answer.content.decode() for answer in answers)
    assert root("DELETE", "/secrets/hook").status_code == 204
    fails(root("GET", "/secrets/hook"), 404, "secret_not_found")


def test_refusals_are_said_and_change_nothing(root: Caller) -> None:
    root("PUT", "/secrets/hook", {"value": "hidden-value-1234"})
    fails(root("POST", "/secrets/hook/versions/1/revoke"), 409, "current_version")
    fails(root("POST", "/secrets/hook/versions/7/revoke"), 404, "version_not_found")
    fails(root("PUT", "/secrets/1bad", {"value": "x"}), 422, "bad_input")
    bodies: list[dict[str, Any]] = [{}, {"value": "x", "source": "env"}, {"locator": {}}, {"source": "env"}]
    for body in bodies:
        fails(root("PUT", "/secrets/hook", body), 422, "bad_input")
    for wrong in ({"value": 7}, {"value": "x", "overlap": -1}, {"value": "x", "overlap": 1e9}, {"source": "file"}):
        fails(root("PUT", "/secrets/hook", wrong), 422, "invalid_request")
    absent = {"source": "env", "locator": {"variable": "ORCHESTRA_SECRET_NOT_THERE"}}
    fails(root("PUT", "/secrets/hook", absent), 502, "secret_refused")
    settings = {"base_url": "https://api.example.com", "auth": {"type": "bearer", "secret": "hook"}}
    connections.create_connection(actor=Actor.system("test"), name="ci", kind="http", settings=settings)
    fails(root("DELETE", "/secrets/hook"), 409, "in_use")
    assert Secret.objects.get().version == 1


def test_a_refused_value_is_not_quoted(root: Caller) -> None:
    for body in ({"value": ["hidden-value-1234"]}, {"value": "hidden-value-1234", "hidden-key-1": 1}):
        assert "hidden-value" not in root("PUT", "/secrets/hook", body).content.decode()


def test_a_value_kept_elsewhere(root: Caller, reader: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_SECRET_DEPLOY", "hidden-value-1234")
    place = {"variable": "ORCHESTRA_SECRET_DEPLOY"}
    made = root("PUT", "/secrets/deploy", {"source": "env", "locator": place}).json()
    assert (made["source"], made["locator"], made["last4"]) == ("env", place, "")
    seen = reader("GET", "/secrets/deploy").json()
    assert (seen["source"], seen["locator"], seen["versions"]) == ("env", None, [])


def test_lists_go_by_name_page_by_page(root: Caller, reader: Caller) -> None:
    for name in ("b", "a", "c"):
        root("PUT", f"/secrets/{name}", {"value": "hidden-value-1234"})
    first = reader("GET", "/secrets?limit=2").json()
    rest = reader("GET", f"/secrets?limit=2&cursor={first['next_cursor']}").json()
    assert [row["name"] for row in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "/secrets/hook", {"value": "hidden-x"}), ("DELETE", "/secrets/hook", None),
     ("PUT", "/secrets/hook", {"source": "env", "locator": {}}), ("GET", "/system/notices", None),
     ("PUT", "/secrets/hook/reminder", {"rotate_days": 3}), ("POST", "/secrets/hook/versions/1/revoke", None),
     ("POST", "/secrets/hook/versions/1/restore", {})],
)  # fmt: skip
def test_only_admins_change(root: Caller, reader: Caller, method: str, path: str, body: Any) -> None:
    root("PUT", "/secrets/hook", {"value": "hidden-value-1234"})
    fails(reader(method, path, body), 403, "not_allowed")
    assert Secret.objects.get().version == 1


def test_admins_read_what_they_should_look_at(root: Caller, settings: Any) -> None:
    settings.ENCRYPTION_KEYS_FROM = "made"
    assert [item["code"] for item in root("GET", "/system/notices").json()["items"]] == ["keys_beside_data"]
