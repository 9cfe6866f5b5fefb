"""Webhooks and callbacks over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from django.test import Client

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources.access import Actor
from runs import tokens
from runs.actions import start_run
from runs.models import Run, StartKey, WaitToken

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
SECRET = "s3cret-of-the-hook"


def deliver(
    client: Client, body: Any, *, delivery: str = "d-1", secret: str = SECRET, path: str = "/hooks/greet/github"
) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    mark = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    return client.post(
        path, raw, content_type="application/json", headers={"X-Hub-Signature-256": mark, "X-GitHub-Delivery": delivery}
    )


def nothing_written() -> bool:
    return not Run.objects.exists() and not StartKey.objects.exists()


def test_a_delivery_starts_one_run_however_often_it_comes(client: Client, live_flow: Flow) -> None:
    first = deliver(client, {"action": "published", "name": "Ada"})
    assert (first.status_code, first.json()["status"]) == (202, "started")
    again = deliver(client, {"action": "published", "name": "Ada"})
    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "run": first.json()["run"]})
    run = Run.objects.get()
    assert run.pk == first.json()["run"]
    assert run.input == {"name": "Ada", "times": 1}
    assert run.trigger["headers"]["x-github-delivery"] == "d-1"
    assert "x-hub-signature-256" not in run.trigger["headers"]


def test_an_excluded_delivery_is_ignored(client: Client, live_flow: Flow) -> None:
    answer = deliver(client, {"action": "created", "name": "Ada"})
    assert (answer.status_code, answer.json()["status"]) == (202, "ignored")
    assert nothing_written()


@pytest.mark.parametrize(
    ("body", "secret", "path", "status", "code"),
    [
        ({"action": "published"}, "wrong", "/hooks/greet/github", 401, "bad_signature"),
        (b"{", SECRET, "/hooks/greet/github", 400, "malformed_body"),
        (b"[" * 80 + b"]" * 80, SECRET, "/hooks/greet/github", 400, "too_deep"),
        (b'{"a": "' + b"x" * 1_048_576 + b'"}', SECRET, "/hooks/greet/github", 413, "too_large"),
        ({"action": "published", "name": 5}, SECRET, "/hooks/greet/github", 422, "bad_input"),
        ({"other": 1}, SECRET, "/hooks/greet/github", 422, "unreadable_delivery"),
        ({}, SECRET, "/hooks/nobody/github", 404, "not_found"),
        ({}, SECRET, "/hooks/greet/nothing", 404, "not_found"),
        ({}, SECRET, "/hooks/greet/manual", 404, "not_found"),
        ({}, SECRET, "/hooks/gr%00eet/github", 404, "not_found"),
        ({}, SECRET, "/hooks/greet", 404, "not_found"),
    ],
)
def test_what_is_wrong_has_its_code_and_writes_nothing(
    client: Client, live_flow: Flow, body: Any, secret: str, path: str, status: int, code: str
) -> None:
    answer = deliver(client, body, secret=secret, path=path)
    assert answer.status_code == status, answer.content
    assert answer.json()["error"]["code"] == code
    assert nothing_written()


def test_only_post_is_taken(client: Client, live_flow: Flow) -> None:
    answer = client.get("/hooks/greet/github")
    assert (answer.status_code, answer["Allow"], answer.json()["error"]["code"]) == (405, "POST", "method_not_allowed")


def test_the_same_delivery_id_with_another_body_is_a_conflict(client: Client, live_flow: Flow) -> None:
    deliver(client, {"action": "published", "name": "Ada"})
    answer = deliver(client, {"action": "published", "name": "Eve"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_mismatch")
    assert Run.objects.count() == 1


def test_hooks_set_no_cookie_and_read_no_session(
    client: Client, live_flow: Flow, django_assert_max_num_queries: Any
) -> None:
    deliver(client, {"action": "created"})
    with django_assert_max_num_queries(2):  # the live release, the secret
        answer = deliver(client, {"action": "created"})
    assert not answer.cookies


def test_an_unknown_callback_is_not_found(client: Client, db: None) -> None:
    answer = client.post("/callbacks/nope", b"{}", content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


WAITING = """\
flow: hold
folder: team
steps:
  - {id: hold, wait: {callback: {timeout: 1h}}}
  - id: ask
    approval: {title: Sure?, protects: [], reviewers: {quorum: 1}}
"""


@pytest.fixture
def waiting_run(author: Actor) -> Run:
    create_flow(actor=author, source=WAITING)
    release = release_draft(actor=author, slug="hold", version="1.0.0", live=True)
    return start_run(actor=Actor.system("test"), flow=release.flow, input={}, release=release).run


def answer(client: Client, token: str, body: bytes) -> Any:
    return client.post(f"/callbacks/{token}", body, content_type="application/json")


def test_an_approvals_token_is_no_callback(client: Client, waiting_run: Run) -> None:
    assert answer(client, tokens.make(waiting_run.pk, 1, -1, 1), b'{"decision": "approved"}').status_code == 404
    assert not WaitToken.objects.exists()


def test_a_callback_is_taken_once_and_a_repeat_is_told_the_same(client: Client, waiting_run: Run) -> None:
    token = tokens.make(waiting_run.pk, 0, -1, 1)
    first = answer(client, token, b'{"ok": true}')
    assert (first.status_code, first.json()) == (202, {"status": "accepted"})
    again = answer(client, token, b'{"ok": false}')
    assert (again.status_code, again.json()) == (202, {"status": "accepted"})
    assert WaitToken.objects.get(token=token).answer == {"ok": True}


def test_a_callback_that_breaks_its_schema_is_told_where_and_the_wait_stays_open(client: Client, author: Actor) -> None:
    source = WAITING.replace("timeout: 1h", "timeout: 1h, schema: {type: object, properties: {n: {type: integer}}}")
    create_flow(actor=author, source=source)
    release = release_draft(actor=author, slug="hold", version="1.0.0", live=True)
    run = start_run(actor=Actor.system("test"), flow=release.flow, input={}, release=release).run
    token = tokens.make(run.pk, 0, -1, 1)
    refused = answer(client, token, b'{"n": "many"}')
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "contract")
    assert [p["path"] for p in refused.json()["error"]["details"]] == [["n"]]
    assert answer(client, token, b'{"n": 3}').status_code == 202


def test_a_late_callback_is_gone_and_a_malformed_one_is_refused(client: Client, waiting_run: Run) -> None:
    token = tokens.make(waiting_run.pk, 0, -1, 1)
    assert answer(client, token, b"{").status_code == 400
    Run.objects.filter(pk=waiting_run.pk).update(status="cancelled")
    late = answer(client, token, b"{}")
    assert (late.status_code, late.json()["error"]["code"]) == (410, "gone")


def test_a_forged_callback_token_is_unknown(client: Client, waiting_run: Run) -> None:
    token = tokens.make(waiting_run.pk, 0, -1, 1)
    assert answer(client, token[:-1] + ("a" if token[-1] != "a" else "b"), b"{}").status_code == 404
