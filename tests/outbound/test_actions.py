"""Subscriptions through the API and the pages: the same actions, admins only, every secret shown at most once."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.test import Client

from resources.access import Actor
from resources.connections import delete_connection
from resources.errors import Conflict
from resources.models import AuditEntry, Connection
from resources.tokens import create_token
from runs.models import Delivery, Subscription
from runs.outbound import keys
from runs.outbound.types import BY_NAME
from tests.api.conftest import Caller
from tests.outbound.conftest import make_flow, make_run
from tests.resources.conftest import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
URL = "https://example.com/events/"
BODY = {"name": "ops", "url": URL, "types": ["run.failed", "approval.*"]}
FORM = {"name": "ops", "url": URL, "types": "run.failed\napproval.*"}


@pytest.fixture
def person(db: None) -> Any:
    return make_user("ada", "admin")


@pytest.fixture
def call(person: Any) -> Caller:
    return Caller(create_token(actor=Actor.of_user(person), user=person, name="t")[1])


@pytest.fixture
def client(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


def dead(subscription: str = "ops") -> Delivery:
    run = make_run(make_flow(), "run.failed", error={"class": "http_5xx", "message": "<b>no</b>"})
    row = Subscription.objects.get(name=subscription)
    now = time.time()
    tries = [{"at": now, "status": 500, "error": "Answered 500.", "seconds": 0.1}]
    made = {"status": "dead", "type": "run.failed", "since": now, "created_at": now, "ended_at": now}
    return Delivery.objects.create(
        subscription=row, event=run.events.get(), attempts=20, tries=tries, last_status=500, excerpt="<i>", **made
    )


# -- API -----------------------------------------------------------------------------------------------------------
def test_a_subscription_is_made_read_changed_and_deleted(call: Caller) -> None:
    made = call("POST", "/subscriptions", BODY)
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    shown = call("GET", "/subscriptions/ops").json()
    assert shown == made.json()["subscription"]
    assert (shown["url"], shown["owner"], shown["enabled"], shown["secret_last4"]) == (URL, "ada", True, secret[-4:])
    assert keys.of(Subscription.objects.get(), time.time()) == [secret]
    assert secret not in str(list(AuditEntry.objects.values("data")))
    changed = call("PUT", "/subscriptions/ops", {"url": URL, "types": ["*"], "include_output": True})
    assert (changed.status_code, changed.json()["types"], changed.json()["include_output"]) == (200, ["*"], True)
    assert [row["name"] for row in call("GET", "/subscriptions").json()["items"]] == ["ops"]
    assert call("DELETE", "/subscriptions/ops").status_code == 204
    assert call("GET", "/subscriptions/ops").status_code == 404


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"types": ["run.exploded"]}, "types"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://user:pw@example.com"}, "url"),
        ({"url": "", "connection": ""}, "url"),
        ({"connection": "ci"}, "url"),
        ({"url": "", "connection": "ci"}, "connection"),
        ({"flows": ["nowhere"]}, "flows"),
        ({"folders": ["/"]}, "folders"),
        ({"name": "Ops"}, "name"),
        ({"name": "new"}, "name"),
        ({"secret": "hunter2"}, "secret"),
    ],
)
def test_what_cannot_work_is_refused_naming_the_field(wrong: dict[str, Any], path: str, call: Caller) -> None:
    answer = call("POST", "/subscriptions", {**BODY, **wrong})
    assert answer.status_code == 422
    assert path in [detail["path"].strip("/") for detail in answer.json()["error"]["details"]]
    assert not Subscription.objects.exists()


PRIVATE = [
    "http://127.0.0.1:8000",
    "https://localhost/x",
    "http://10.1.2.3",
    "http://169.254.169.254/latest",
    "http://[::1]",
]


@pytest.mark.parametrize("url", [*PRIVATE, "http://2130706433", "http://0x7f.1/"])
def test_a_private_address_is_refused_at_once_with_what_to_do(url: str, call: Caller) -> None:
    answer = call("POST", "/subscriptions", {**BODY, "url": url})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "address_refused")
    assert "such addresses are refused" in error["message"] and "allowed networks" in error["hint"]
    assert [detail["path"] for detail in error["details"]] == ["url"] and not Subscription.objects.exists()
    call("POST", "/subscriptions", BODY)
    assert call("PUT", "/subscriptions/ops", {"types": ["*"], "url": url}).json()["error"]["code"] == "address_refused"
    assert Subscription.objects.get().url == URL


def test_a_private_address_is_taken_where_its_connection_allows_the_network(call: Caller) -> None:
    row = Connection.objects.create(name="inside", kind="http", settings={"base_url": "http://10.1.2.3"})
    body = {"name": "ops", "types": ["*"], "connection": "inside", "path": "/events"}
    error = call("POST", "/subscriptions", body).json()["error"]
    assert (error["code"], error["details"][0]["path"]) == ("address_refused", "connection")
    assert "on the connection inside" in error["hint"]
    row.settings["allow_networks"] = ["10.0.0.0/8"]
    row.save(update_fields=["settings"])
    assert call("POST", "/subscriptions", body).status_code == 201


def test_a_name_is_taken_once(call: Caller) -> None:
    call("POST", "/subscriptions", BODY)
    again = call("POST", "/subscriptions", BODY)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "subscription_exists")


def test_controls_over_the_api(call: Caller) -> None:
    call("POST", "/subscriptions", BODY)
    assert call("POST", "/subscriptions/ops/pause", {"note": "moving"}).json()["note"] == "moving"
    assert call("POST", "/subscriptions/ops/pause").status_code == 409
    assert call("POST", "/subscriptions/ops/test").json()["error"]["code"] == "paused"
    assert call("POST", "/subscriptions/ops/resume").json()["enabled"] is True
    tested = call("POST", "/subscriptions/ops/test")
    assert (tested.status_code, tested.json()["status"]) == (202, "pending")
    rotated = call("POST", "/subscriptions/ops/secret").json()["secret"]
    assert keys.of(Subscription.objects.get(), time.time())[0] == rotated
    assert len(keys.of(Subscription.objects.get(), time.time())) == 2
    assert call("POST", "/subscriptions/ops/secret", {"secret": "x"}).status_code == 422


def test_deliveries_are_listed_and_replayed_over_the_api(call: Caller) -> None:
    call("POST", "/subscriptions", BODY)
    row = dead()
    (listed,) = call("GET", "/subscriptions/ops/deliveries?status=dead").json()["items"]
    assert (listed["id"], listed["last_status"], listed["run"]) == (row.pk, 500, row.event.run_id)  # type: ignore[union-attr]
    full = call("GET", f"/subscriptions/ops/deliveries/{row.pk}").json()
    assert full["request"]["id"] == full["webhook_id"]
    assert full["tries"][0]["status"] == 500
    assert call("POST", "/subscriptions/ops/replay", {"dry_run": True}).json() == {"count": 1}
    assert call("POST", "/subscriptions/ops/replay", {"types": ["approval.*"]}).json() == {"count": 0}
    assert call("POST", "/subscriptions/ops/replay", {"deliveries": [row.pk]}).json() == {"count": 1}
    assert call("GET", "/subscriptions/ops/deliveries?status=dead").json()["items"] == []
    assert call("POST", "/subscriptions/ops/replay", {"since": "2020-01-01T00:00:00Z"}).json() == {"count": None}
    assert Subscription.objects.get().cursor == 0
    for wrong in ({"since": "yesterday"}, {"since": "2999-01-01T00:00:00Z"}, {"since": "2020-01-01T00:00:00"}):
        assert call("POST", "/subscriptions/ops/replay", wrong).status_code == 422
    assert call("POST", "/subscriptions/ops/replay", {"deliveries": [row.pk, 10**6]}).status_code == 404


def test_deliveries_are_paged_newest_first(call: Caller) -> None:
    call("POST", "/subscriptions", BODY)
    sent = [call("POST", "/subscriptions/ops/test").json()["id"] for _ in range(5)]
    seen, cursor = [], ""
    while True:
        page = call("GET", f"/subscriptions/ops/deliveries?limit=2{cursor}").json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sent[::-1]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("POST", ""), ("GET", "/ops"), ("PUT", "/ops"), ("DELETE", "/ops"), ("POST", "/ops/pause"),
        ("POST", "/ops/resume"), ("POST", "/ops/secret"), ("POST", "/ops/test"), ("POST", "/ops/replay"),
        ("GET", "/ops/deliveries"), ("GET", "/ops/deliveries/1"),
    ],
)  # fmt: skip
def test_admins_alone_may(method: str, path: str, call: Caller) -> None:
    call("POST", "/subscriptions", BODY)
    user = make_user("olga", "operator", "reviewer", "author")
    other = Caller(create_token(actor=Actor.of_user(user), user=user, name="t")[1])
    body = {"types": ["*"], "url": URL} if method == "PUT" else BODY if path == "" and method == "POST" else {}
    assert other(method, f"/subscriptions{path}", body or None if method != "POST" else body).status_code == 403
    assert Subscription.objects.filter(enabled=True).count() == 1


def test_a_connection_that_a_subscription_uses_stays(person: Any, call: Caller) -> None:
    Connection.objects.create(name="ci", kind="http", settings={"base_url": "https://ci.example.com"})
    assert call("POST", "/subscriptions", {**BODY, "url": "", "connection": "ci", "path": "/a"}).status_code == 201
    with pytest.raises(Conflict) as refused:
        delete_connection(actor=Actor.of_user(person), name="ci")
    assert refused.value.details == ["subscription ops"]


# -- schemas ---------------------------------------------------------------------------------------------------------
def test_schemas_are_served_to_everybody_and_say_nothing_of_this_installation(db: None) -> None:
    stranger = Client()
    listed = stranger.get("/schemas/events").json()
    assert set(listed) == set(BY_NAME)
    for name, url in listed.items():
        answer = stranger.get(url[url.index("/schemas") :])
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/schema+json")
        assert (answer.json()["$id"], answer.json()["title"]) == (url, name)
    assert stranger.get("/schemas/events/orchestra.run.exploded.v1.json").status_code == 404


# -- pages -----------------------------------------------------------------------------------------------------------
def test_the_form_makes_a_subscription_and_shows_its_secret_once(client: Client) -> None:
    assert "No subscriptions yet" in client.get("/subscriptions").content.decode()
    page = client.post("/subscriptions/new", FORM)
    assert page.status_code == 200
    (secret,) = re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", page.content.decode())
    assert keys.of(Subscription.objects.get(), 0) == [secret]
    for path in ("/subscriptions", "/subscriptions/ops", "/subscriptions/ops/edit"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert secret not in answer.content.decode()
    assert "no-store" in page["Cache-Control"]


def test_what_is_wrong_is_shown_at_its_field_and_the_secret_does_not_come_back(client: Client) -> None:
    page = client.post("/subscriptions/new", {**FORM, "types": "run.exploded", "secret": "whsec_mine"})
    assert page.status_code == 422
    assert "run.exploded" in page.content.decode()
    assert "whsec_mine" not in page.content.decode()


def test_pages_edit_pause_resume_test_rotate_replay_and_delete(client: Client) -> None:
    client.post("/subscriptions/new", FORM)
    client.post("/subscriptions/ops/edit", {**FORM, "types": "run.*"})
    assert Subscription.objects.get().types == ["run.*"]
    client.post("/subscriptions/ops/pause", {"note": "moving house"})
    assert "moving house" in client.get("/subscriptions/ops").content.decode()
    client.post("/subscriptions/ops/resume")
    assert client.post("/subscriptions/ops/test").status_code == 302
    assert Delivery.objects.get().type == "test"
    assert "whsec_" in client.post("/subscriptions/ops/rotate").content.decode()
    row = dead()
    page = client.get("/subscriptions/ops?status=dead").content.decode()
    assert "run.failed" in page
    shown = client.get(f"/subscriptions/ops/deliveries/{row.pk}").content.decode()
    assert "orchestra.run.failed.v1" in shown
    assert "<i>" not in shown
    client.post("/subscriptions/ops/replay", {"delivery": row.pk})
    row.refresh_from_db()
    assert row.status == "pending"
    Delivery.objects.update(status="dead")
    client.post("/subscriptions/ops/replay")
    assert not Delivery.objects.filter(status="dead").exists()
    client.post("/subscriptions/ops/replay", {"since": "2020-01-01T00:00"})
    assert Subscription.objects.get().cursor == 0
    client.post("/subscriptions/ops/delete")
    assert not Subscription.objects.exists()


@pytest.mark.parametrize("path", ["", "/new", "/ops", "/ops/edit", "/ops/deliveries/1"])
def test_pages_are_for_admins(path: str, client: Client) -> None:
    client.post("/subscriptions/new", FORM)
    other = Client()
    assert other.get(f"/subscriptions{path}").status_code == 302
    other.force_login(make_user("olga", "operator"))
    assert other.get(f"/subscriptions{path}").status_code == 403
    assert other.post("/subscriptions/ops/delete").status_code in (302, 403)
    assert Subscription.objects.exists()


@pytest.mark.parametrize("path", ["/subscriptions/none", "/subscriptions/none/edit", "/subscriptions/ops/deliveries/1"])
def test_what_is_not_there_is_not_found(path: str, client: Client) -> None:
    client.post("/subscriptions/new", FORM)
    assert client.get(path).status_code == 404
    assert client.post("/subscriptions/ops/explode").status_code == 404


def test_the_page_says_what_is_broken(client: Client, person: Any) -> None:
    client.post("/subscriptions/new", FORM)
    client.post("/subscriptions/ops/test")
    Delivery.objects.update(wake_at=time.time() - 3600)
    make_user("second", "admin")
    person.grants.all().delete()
    page = Client()
    from django.contrib.auth import get_user_model

    page.force_login(get_user_model().objects.get(username="second"))
    shown = page.get("/subscriptions/ops").content.decode()
    assert "Deliveries are overdue" in shown
    assert "may view no folder any more" in shown


def test_the_list_asks_as_many_queries_for_many_as_for_few(client: Client, django_assert_max_num_queries: Any) -> None:
    for n in range(6):
        client.post("/subscriptions/new", {**FORM, "name": f"ops-{n}"})
    with django_assert_max_num_queries(8):
        client.get("/subscriptions")
