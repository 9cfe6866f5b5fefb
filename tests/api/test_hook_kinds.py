"""Webhooks over HTTP: kinds, a secret that changes, addresses, bodies, files, the answer with a run's output."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.actions import create_flow, release_draft
from resources import artifacts
from resources.access import Actor
from resources.models import Artifact
from resources.secrets import set_secret
from runs.incoming.replies import Waiting, answer_of
from runs.models import Run, StartKey

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
FLOW = """\
flow: greet
folder: team
title: Greet
input: {type: object}
triggers:
  - webhook: HOOK
steps:
  - {id: rest, sleep: 1s}
output: {said: hello}
"""
Make = Callable[[str], None]


@pytest.fixture
def hooked(author: Actor) -> Make:
    def make(hook: str) -> None:
        set_secret(actor=Actor.system("test"), name="key", value="first-value")
        create_flow(actor=author, source=FLOW.replace("HOOK", hook))
        release_draft(actor=author, slug="greet", version="1.0.0", live=True)

    return make


def send(client: Client, body: bytes, headers: dict[str, str] | None = None, kind: str = "application/json") -> Any:
    return client.generic("POST", "/hooks/greet/hook", body, content_type=kind, headers=headers or {})


def told(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def stripe(body: bytes, secret: str = "first-value", at: float | None = None) -> dict[str, str]:
    stamp = int(time.time() if at is None else at)
    mark = hmac.new(secret.encode(), b"%d." % stamp + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={mark}"}


def test_a_replayed_delivery_starts_nothing_and_is_told_its_run(client: Client, hooked: Make) -> None:
    hooked("{name: hook, verify: stripe, secret: key}")
    body = b'{"id": "evt_1"}'
    first = send(client, body, stripe(body))
    again = send(client, body, stripe(body, at=time.time() - 60))  # sent again by Stripe, signed again
    assert (first.status_code, again.status_code, again.json()["status"]) == (202, 200, "duplicate")
    assert again.json()["run"] == first.json()["run"] == Run.objects.get().pk


def test_an_old_or_forged_delivery_writes_nothing(client: Client, hooked: Make) -> None:
    hooked("{name: hook, verify: stripe, secret: key}")
    body = b'{"id": "evt_1"}'
    assert told(send(client, body, stripe(body, at=time.time() - 3600))) == (401, "stale_timestamp")
    assert told(send(client, body, stripe(body, secret="other"))) == (401, "bad_signature")
    assert told(send(client, body)) == (401, "bad_signature")
    assert not Run.objects.exists() and not StartKey.objects.exists()


def test_while_a_secret_changes_its_former_value_is_taken_until_it_is_revoked(client: Client, hooked: Make) -> None:
    hooked("{name: hook, verify: bearer, secret: key}")
    set_secret(actor=Actor.system("test"), name="key", value="second-value", overlap=3600)
    for value in ("second-value", "first-value"):
        assert send(client, b"{}", {"Authorization": f"Bearer {value}"}).status_code == 202
    set_secret(actor=Actor.system("test"), name="key", value="third-value", overlap=0)
    assert told(send(client, b"{}", {"Authorization": "Bearer second-value"})) == (401, "bad_signature")


def test_slack_is_answered_its_challenge_once_it_is_signed(client: Client, hooked: Make) -> None:
    hooked("{name: hook, verify: slack, secret: key}")
    body = b'{"type": "url_verification", "challenge": "c-123"}'
    stamp = str(int(time.time()))
    mark = hmac.new(b"first-value", f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={mark}"}
    answer = send(client, body, headers)
    assert (answer.status_code, answer.json()) == (200, {"challenge": "c-123"})
    assert told(send(client, body.replace(b"c-123", b"c-124"), headers)) == (401, "bad_signature")
    assert not Run.objects.exists()


def test_a_listed_address_is_who_connected_or_who_a_trusted_proxy_names(
    client: Client, hooked: Make, settings: Any
) -> None:
    hooked("{name: hook, verify: none, allow: [203.0.113.0/24]}")
    forged = {"X-Forwarded-For": "203.0.113.9"}
    assert told(send(client, b"{}", forged)) == (403, "address_not_allowed")
    settings.TRUSTED_PROXIES = (ipaddress.ip_network("127.0.0.0/8"),)
    assert send(client, b"{}", forged).status_code == 202
    assert told(send(client, b"{}", {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"})) == (403, "address_not_allowed")


@pytest.mark.parametrize(
    ("kind", "body", "seen"),
    [
        ("application/x-www-form-urlencoded", b"From=%2B47&Body=Hei+du", {"From": "+47", "Body": "Hei du"}),
        ("application/xml", b"<a/>", "<a/>"),
        ("text/plain; charset=utf-8", "Blåbær".encode(), "Blåbær"),
    ],
)
def test_bodies_of_other_kinds_reach_the_run(client: Client, hooked: Make, kind: str, body: bytes, seen: Any) -> None:
    hooked('{name: hook, verify: none, input: {got: "${{ trigger.body }}"}}')
    assert send(client, body, kind=kind).status_code == 202
    assert Run.objects.get().input == {"got": seen}


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("image/png", b"x", 415, "unsupported_media_type"),
        ("text/plain; charset=klingon", b"x", 415, "unsupported_charset"),
        ("text/plain", b"\xff", 400, "bad_charset"),
        ("application/x-www-form-urlencoded", b"a=%ff", 400, "bad_charset"),
        ("multipart/form-data", b"x", 400, "malformed_body"),
        ("application/json", b"[" * 80 + b"]" * 80, 400, "too_deep"),
        ("text/plain", b"x" * 1_048_577, 413, "too_large"),
    ],
)
def test_a_hostile_body_is_refused_and_writes_nothing(
    client: Client, hooked: Make, kind: str, body: bytes, status: int, code: str
) -> None:
    hooked("{name: hook, verify: none}")
    assert told(send(client, body, kind=kind)) == (status, code)
    assert not Run.objects.exists() and not Artifact.objects.exists()


def upload(content: bytes) -> bytes:
    return (
        b'--B\r\nContent-Disposition: form-data; name="id"\r\n\r\n7\r\n--B\r\n'
        b'Content-Disposition: form-data; name="doc"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
        + content
        + b"\r\n--B--\r\n"
    )


def test_a_file_becomes_a_resource_of_the_one_run_it_started(client: Client, hooked: Make) -> None:
    hooked('{name: hook, verify: none, dedupe: "${{ trigger.body.id }}", input: {doc: "${{ trigger.body.doc }}"}}')
    kind = "multipart/form-data; boundary=B"
    first = send(client, upload(b"hello"), kind=kind)
    assert first.status_code == 202, first.content
    run, artifact = Run.objects.get(), Artifact.objects.get()
    assert (artifact.run_id, artifact.folder, artifact.name, artifact.content_type) == (
        run.pk, "team", "a.txt", "text/plain",
    )  # fmt: skip
    assert run.input["doc"]["$res"] == f"res://{artifact.pk}" == run.trigger["body"]["doc"]["$res"]
    assert artifacts.read(artifact) == b"hello"
    again = send(client, upload(b"hello"), kind=kind)
    assert (again.status_code, again.json()["run"]) == (200, run.pk)
    assert told(send(client, upload(b"other"), kind=kind)) == (409, "idempotency_mismatch")
    assert Artifact.objects.count() == Run.objects.count() == 1


def test_a_file_of_a_refused_delivery_is_not_kept(client: Client, author: Actor) -> None:
    source = FLOW.replace("{type: object}", "{type: object, required: [missing]}")
    create_flow(actor=author, source=source.replace("HOOK", "{name: hook, verify: none}"))
    release_draft(actor=author, slug="greet", version="1.0.0", live=True)
    assert told(send(client, upload(b"hello"), kind="multipart/form-data; boundary=B")) == (422, "bad_input")
    assert not Artifact.objects.exists() and not Run.objects.exists()


def test_too_many_that_have_not_begun_is_429_with_the_time_to_come_again(client: Client, author: Actor) -> None:
    source = FLOW.replace("title: Greet", "title: Greet\nmax_queued: 1\nconcurrency: {key: a}")
    create_flow(actor=author, source=source.replace("HOOK", "{name: hook, verify: none}"))
    release_draft(actor=author, slug="greet", version="1.0.0", live=True)
    answers = [send(client, b"{}") for _ in range(4)]
    refused = [a for a in answers if a.status_code == 429]
    assert refused and int(refused[-1]["Retry-After"]) > 0
    assert refused[-1].json()["error"]["code"] == "max_queued"


# -- respond -------------------------------------------------------------------------------------------------------
def end(run: Run, status: str, **fields: Any) -> None:
    Run.objects.filter(pk=run.pk).update(status=status, ended_at=1.0, **fields)


def later_of(answer: Any) -> Any:
    assert isinstance(answer, Waiting)
    return answer.later


def test_a_call_is_answered_with_what_its_run_gives_once_it_has_ended(client: Client, hooked: Make) -> None:
    shape = '{id: "${{ trigger.body.id }}", said: "${{ run.output.said }}"}'
    hooked(f"{{name: hook, verify: stripe, secret: key, respond: {{wait: 5s, output: {shape}}}}}")
    body = b'{"id": "evt_1"}'
    answer = send(client, body, stripe(body))
    run = Run.objects.get()
    assert (answer.status_code, answer.json()["run"], answer.json()["url"][-31:]) == (202, run.pk, f"runs/{run.pk}")
    later = later_of(answer)
    assert later.seconds == 5.0 and later.poll() is None
    end(run, "succeeded", output={"said": "hello"})
    found = later.poll()
    assert (found.status_code, json.loads(found.content)) == (200, {"id": "evt_1", "said": "hello"})
    again = later_of(send(client, body, stripe(body))).poll()  # the same call waits for the same run
    assert again.content == found.content and Run.objects.count() == 1


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        ("failed", "input", 422), ("failed", "rejected", 422), ("failed", "contract", 422), ("failed", "http_5xx", 502),
        ("failed", "internal", 502), ("timed_out", "deadline", 502), ("cancelled", "", 502),
    ],
)  # fmt: skip
def test_a_run_that_failed_says_its_class_and_nothing_of_its_inside(
    client: Client, hooked: Make, status: str, name: str, code: int
) -> None:
    hooked("{name: hook, verify: none, respond: {}}")
    send(client, b"{}")
    run = Run.objects.get()
    end(run, status, error_class=name, error={"class": name, "message": "the insides", "step": "rest"})
    found = answer_of(run.pk, None, {})
    assert found is not None and found.status_code == code
    error = json.loads(found.content)["error"]
    assert (error["code"], error["details"]) == (
        "run_failed", {"run": run.pk, "status": status, "class": name or status},
    )  # fmt: skip
    assert b"the insides" not in found.content


def test_an_answer_that_cannot_be_made_and_one_that_is_large(client: Client, hooked: Make) -> None:
    hooked("{name: hook, verify: none, respond: {}}")
    send(client, b"{}")
    run = Run.objects.get()
    kept = artifacts.store(b'{"large": true}', run_id=run.pk, folder="team")
    end(run, "succeeded", output=artifacts.ref(kept))
    whole = answer_of(run.pk, None, {})
    assert whole is not None and json.loads(whole.content) == {"large": True}
    broken = answer_of(run.pk, "${{ run.output.nothing.at.all }}", {})
    assert broken is not None and broken.status_code == 502
    assert json.loads(broken.content)["error"]["details"]["class"] == "expression"
