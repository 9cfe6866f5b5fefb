"""The log of deliveries: what it says, how much it keeps, and that it never stands in the way."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from flows.models import Flow
from runs.incoming import deliveries
from runs.incoming.models import HookDelivery
from runs.models import Run
from tests.api.conftest import author, call_as, forget_plans, github_secret, live_flow, person, source

__all__ = ["author", "call_as", "forget_plans", "github_secret", "live_flow", "person", "source"]
pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    deliveries._pending.clear()
    yield
    deliveries._pending.clear()


def deliver(client: Client, body: Any, *, secret: str = "s3cret-of-the-hook", key: str = "d-1") -> Any:
    raw = json.dumps(body).encode()
    mark = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": mark, "X-GitHub-Delivery": key}
    return client.post("/hooks/greet/github", raw, content_type="application/json", headers=headers)


def test_each_outcome_is_a_line_with_its_reason_and_no_body(client: Client, live_flow: Flow) -> None:
    deliver(client, {"action": "published", "name": "Ada"})
    deliver(client, {"action": "published", "name": "Ada"})
    deliver(client, {"action": "created"})
    deliver(client, {"action": "published"}, secret="wrong")
    deliver(client, {"action": "published", "name": "Bo"})
    client.post("/hooks/greet/nothing", b"{}", content_type="application/json")  # no hook: nobody to show it to
    assert not HookDelivery.objects.exists()
    assert deliveries.flush() == 5
    run = Run.objects.get().pk
    fields = ("trigger", "status", "refused", "http", "code", "run_id", "address")
    assert list(HookDelivery.objects.order_by("id").values_list(*fields)) == [
        ("github", "started", False, 202, "", run, "127.0.0.1"),
        ("github", "duplicate", False, 200, "", run, "127.0.0.1"),
        ("github", "ignored", False, 202, "", "", "127.0.0.1"),
        ("github", "refused", True, 401, "bad_signature", "", "127.0.0.1"),
        ("github", "refused", True, 409, "idempotency_mismatch", "", "127.0.0.1"),
    ]
    assert all(row.reason for row in HookDelivery.objects.exclude(status__in=("started", "duplicate")))


def test_a_flood_of_refused_calls_is_bounded_and_leaves_the_others_in_place(client: Client, live_flow: Flow) -> None:
    note = deliveries.note
    note(live_flow.pk, "github", "192.0.2.1", status="started", http=202, run_id="r")
    for number in range(deliveries.KEPT * 3):
        note(live_flow.pk, "github", "192.0.2.1", status="refused", http=401, code="bad_signature", why=f"{number}")
    assert deliveries.flush() == deliveries.KEPT + 1
    for _ in range(4):
        note(live_flow.pk, "github", "192.0.2.1", status="refused", http=401, code="bad_signature", why="new")
    deliveries.flush()
    assert deliveries.prune(0.0) == deliveries.EVERY
    left = HookDelivery.objects.filter(refused=True)
    assert left.count() == deliveries.KEPT and left.filter(reason="new").count() == 4
    assert HookDelivery.objects.filter(status="started").count() == 1
    for _ in range(deliveries.PENDING + 10):
        note(live_flow.pk, "github", "192.0.2.1", status="refused", http=401)
    assert len(deliveries._pending) == deliveries.PENDING


def test_what_is_old_goes(live_flow: Flow) -> None:
    deliveries.note(live_flow.pk, "github", "", status="started", http=202)
    deliveries.flush()
    at = HookDelivery.objects.get().at
    deliveries.prune(at + deliveries.OLDEST - 1)
    assert HookDelivery.objects.exists()
    deliveries.prune(at + deliveries.OLDEST + 1)
    assert not HookDelivery.objects.exists()


def test_texts_no_database_takes_whole_are_cut(live_flow: Flow) -> None:
    deliveries.note(live_flow.pk, "github", "a" * 99, status="refused", http=400, code="c" * 99, why="\0" + "w" * 999)
    assert deliveries.flush() == 1
    row = HookDelivery.objects.get()
    assert (len(row.address), len(row.code), len(row.reason)) == (64, 64, 300)


def test_the_page_and_the_api_tell_the_same(
    client: Client, live_flow: Flow, person: Callable[..., Any], call_as: Callable[..., Any]
) -> None:
    deliver(client, {"action": "published", "name": "Ada"})
    deliver(client, {"action": "published"}, secret="wrong")
    deliveries.flush()
    run, viewer = Run.objects.get(), person("vera", "viewer", "team")
    answer = call_as(viewer)("GET", "/flows/greet/hooks")
    assert answer.status_code == 200, answer.content
    github, unproven = answer.json()["items"]
    assert (github["name"], github["verify"], github["secret"]) == ("github", "github", "github-hook")
    assert "openssl dgst -sha256" in github["sign"] and github["url"] in github["sign"]
    assert [(d["status"], d["http"], d["run"]) for d in github["deliveries"]] == [
        ("refused", 401, None), ("started", 202, run.pk),
    ]  # fmt: skip
    assert unproven["deliveries"] == []
    client.force_login(viewer)
    page = client.get("/flows/greet").content.decode()
    for text in (
        github["url"],
        "The signature does not fit the body.",
        f"/runs/{run.pk}",
        "No delivery came",
        "openssl",
    ):
        assert text in page
    assert "s3cret-of-the-hook" not in page + answer.content.decode()
    assert call_as(person("sam"))("GET", "/flows/greet/hooks").status_code == 404
