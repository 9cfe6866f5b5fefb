"""Bindings on their pages and through the API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.actions import create_flow
from flows.binding_actions import set_binding
from flows.binding_pages import of_flow
from flows.models import Binding
from resources import connections
from resources.access import Actor
from resources.tokens import create_token
from tests.flows.test_bindings import ADMIN, FLOW

pytestmark = pytest.mark.django_db
NEW = {"name": "shop", "flow": "", "live": "real", "test": ""}


@pytest.fixture(autouse=True)
def there_are_some() -> None:
    for name in ("real", "sandbox"):
        settings = {"base_url": "https://api.example.com"}
        connections.create_connection(actor=ADMIN, name=name, kind="http", settings=settings)


@pytest.fixture
def root(person: Callable[..., Any]) -> Client:
    client = Client()
    client.force_login(person("root", "admin", ""))
    return client


def test_a_binding_is_added_changed_and_deleted(root: Client) -> None:
    assert b"No bindings yet" in root.get("/bindings").content
    assert root.post("/bindings/new", NEW).status_code == 302
    page = root.get("/bindings/shop/edit").content.decode()
    assert '<option value="real" selected>real (http)</option>' in page
    assert root.post("/bindings/shop/edit", {"live": "real", "test": "sandbox"}).status_code == 302
    assert Binding.objects.values_list("live", "test").get() == ("real", "sandbox")
    assert b"sandbox" in root.get("/bindings").content
    assert root.post("/bindings/shop/delete").status_code == 302 and not Binding.objects.exists()
    assert root.get("/bindings/shop/edit").status_code == 404 and root.get("/bindings/shop/delete").status_code == 405


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"live": ""}, "id_live-error"), ({"live": "gone"}, "id_live-error"), ({"name": "Bad"}, "id_name-error"),
     ({"flow": "nope"}, "no flow")],
)  # fmt: skip
def test_mistakes_are_shown_at_their_field(root: Client, change: dict[str, str], shown: str) -> None:
    answer = root.post("/bindings/new", {**NEW, **change})
    assert answer.status_code == 422 and shown in answer.content.decode()
    assert not Binding.objects.exists()


def test_the_flows_page_says_what_each_name_is_and_an_author_sets_the_test_side(person: Callable[..., Any]) -> None:
    create_flow(actor=ADMIN, source=FLOW)
    set_binding(actor=ADMIN, name="shop", live="real")
    client = Client()
    client.force_login(person("ann", "author", "payments"))
    page = client.get("/flows/deploy").content.decode()
    assert "http, as in all flows" in page and "does not exist" in page and "Bind<span" in page
    form = client.get("/flows/deploy/bindings/shop/edit").content.decode()
    assert re.findall(r'<select name="(\w+)"[^>]* disabled', form) == ["live"]
    posted = client.post("/flows/deploy/bindings/shop/edit", {"test": "sandbox", "live": "sandbox"})
    assert (posted.status_code, posted["location"]) == (302, "/flows/deploy")
    assert Binding.objects.filter(flow__slug="deploy").values_list("test", "live").get() == ("sandbox", "")
    page = client.get("/flows/deploy").content.decode()
    assert "does not exist" not in page and "Change<span" in page
    assert client.post("/bindings/shop/delete").status_code == 403


def test_a_viewer_sees_them_and_is_offered_nothing(person: Callable[..., Any]) -> None:
    create_flow(actor=ADMIN, source=FLOW)
    set_binding(actor=ADMIN, name="shop", flow="deploy", live="real")
    client = Client()
    client.force_login(person("vic", "viewer", "payments"))
    page = client.get("/flows/deploy").content.decode()
    assert "<code>real</code>" in page and "/bindings/shop/edit" not in page
    assert b"Bind a name" not in client.get("/bindings").content
    assert client.post("/flows/deploy/bindings/shop/edit", {"test": "sandbox"}).status_code == 422


def test_the_flows_page_asks_as_often_for_many_names(root: Client, django_assert_max_num_queries: Any) -> None:
    steps = "".join(f"  - id: s{n}\n    http: {{connection: name-{n}}}\n" for n in range(30))
    flow = create_flow(actor=ADMIN, source=FLOW + steps)
    for n in range(10):
        set_binding(actor=ADMIN, name=f"name-{n}", flow="deploy", live="real", test="sandbox")
    with django_assert_max_num_queries(3):
        found = of_flow(flow)
    assert len(found) == 31 and found[0]["live"] == {"connection": "real", "kind": "http", "by": "flow"}


def test_the_api_does_the_same(root: Client, person: Callable[..., Any]) -> None:
    create_flow(actor=ADMIN, source=FLOW)
    user = root.get("/bindings").wsgi_request.user
    _, token = create_token(actor=Actor.of_user(user), user=user, name="t")
    head = {"authorization": f"Bearer {token}"}

    def call(method: str, path: str, body: Any = None) -> Any:
        text = json.dumps(body) if body is not None else ""
        return root.generic(method, f"/api/v1{path}", text, content_type="application/json", headers=head)

    assert call("PUT", "/bindings/shop?flow=deploy", {"test": "sandbox"}).json()["flow"] == "deploy"
    assert call("PUT", "/bindings/shop", {"live": "real"}).json()["live"] == "real"
    listed = call("GET", "/bindings?limit=1").json()
    rest = call("GET", f"/bindings?limit=1&cursor={listed['next_cursor']}").json()
    assert [b["flow"] for b in listed["items"] + rest["items"]] == ["deploy", None]
    assert call("GET", "/flows/deploy/connections").json()["items"] == [
        {
            "name": "shop",
            "live": {"connection": "real", "kind": "http", "by": "workspace"},
            "test": {"connection": "sandbox", "kind": "http", "by": "flow"},
        }
    ]
    assert call("GET", "/bindings/shop?flow=deploy").json()["test"] == "sandbox"
    assert call("DELETE", "/bindings/shop").status_code == 204
    assert call("GET", "/bindings/shop").status_code == 404
    assert call("PUT", "/bindings/shop", {}).status_code == 422
    assert call("PUT", "/bindings/shop", {"live": "nowhere"}).json()["error"]["details"][0]["path"] == "live"
