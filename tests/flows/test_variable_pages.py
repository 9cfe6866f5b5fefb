"""Variables on their pages and through the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.actions import create_flow
from flows.models import Variable
from resources.access import Actor
from tests.flows.test_variables import ADMIN, SOURCE

pytestmark = pytest.mark.django_db
NEW = {"name": "region", "flow": "", "description": "", "schema": '{"type": "string"}', "live": '"eu"', "draft": ""}


@pytest.fixture
def root(person: Callable[..., Any]) -> Client:
    client = Client()
    client.force_login(person("root", "admin", ""))
    return client


def test_a_variable_is_added_changed_and_deleted(root: Client) -> None:
    assert b"No variables yet" in root.get("/variables").content
    assert root.post("/variables/new", NEW).status_code == 302
    assert Variable.objects.get().values == {"live": "eu"}
    change = {**NEW, "draft": "null", "schema": "{}", "live": ""}
    assert root.post("/variables/region/edit", change).status_code == 302
    assert Variable.objects.get().values == {"draft": None}
    assert b"region" in root.get("/variables").content and root.get("/variables/region/edit").status_code == 200
    assert root.post("/variables/region/delete").status_code == 302
    assert not Variable.objects.exists()


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"live": "eu"}, "id_live-error"), ({"live": "5"}, "id_live-error"), ({"schema": "[]"}, "id_schema-error"),
     ({"name": "Bad"}, "id_name-error"), ({"schema": '{"type": 5}'}, "id_schema-error"), ({"flow": "nope"}, "no flow")],
)  # fmt: skip
def test_mistakes_are_shown_at_their_field(root: Client, change: dict[str, str], shown: str) -> None:
    answer = root.post("/variables/new", {**NEW, **change})
    assert answer.status_code == 422 and shown in answer.content.decode()
    assert not Variable.objects.exists()


def test_an_author_sets_the_draft_value_of_a_flow_of_theirs(person: Callable[..., Any]) -> None:
    create_flow(actor=ADMIN, source=SOURCE)
    client = Client()
    client.force_login(person("ann", "author", "payments"))
    refused = client.post("/variables/new", {**NEW, "flow": "deploy"})
    assert refused.status_code == 422 and "operator" in refused.content.decode()
    client.post("/variables/new", {**NEW, "flow": "deploy", "live": "", "draft": '"x"'})
    assert Variable.objects.get().values == {"draft": "x"}
    assert client.get("/flows/deploy/variables/region/edit").status_code == 200


def test_the_api_does_the_same(root: Client) -> None:
    create_flow(actor=ADMIN, source=SOURCE)
    user = Actor.of_user(root.get("/variables").wsgi_request.user).user
    from resources.tokens import create_token

    _, token = create_token(actor=Actor.of_user(user), user=user, name="t")
    head = {"authorization": f"Bearer {token}"}

    def call(method: str, path: str, body: Any = None) -> Any:
        kind = "application/json"
        return root.generic(method, f"/api/v1{path}", body or "", content_type=kind, headers=head)

    body = '{"schema": {"type": "string"}, "values": {"live": "eu", "draft": "x"}, "description": "Where"}'
    assert call("PUT", "/variables/region?flow=deploy", body).json()["flow"] == "deploy"
    assert call("PUT", "/variables/region", body).json()["flow"] is None
    listed = call("GET", "/variables?limit=1").json()
    rest = call("GET", f"/variables?limit=1&cursor={listed['next_cursor']}").json()
    assert [v["flow"] for v in listed["items"] + rest["items"]] == ["deploy", None]
    assert call("GET", "/variables/region").json()["values"] == {"live": "eu", "draft": "x"}
    assert call("DELETE", "/variables/region").status_code == 204
    assert call("GET", "/variables/region").status_code == 404
    assert call("PUT", "/variables/region", '{"values": {"other": 1}}').status_code == 422
