"""What a wait refuses: configs that make no sense, calls that prove nothing, bodies that are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from flows.actions import create_flow, release_draft
from flows.definition.lint import Known, lint
from flows.steps.configs import ConfigError, parse_config
from resources.access import Actor
from resources.secrets import set_secret
from runs import clock, tokens
from runs.actions import cancel_run, start_run
from runs.models import Run, RunEvent, WaitToken
from runs.outbound import signing

SYSTEM = Actor.system("tests")
DAY = 86_400
MANY = {f"o{n}": {"event": {"name": "e"}} for n in range(9)}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "exactly one of callback, event, until and first"),
        ({"callback": {}, "event": {"name": "a"}}, "exactly one of"),
        ({"event": {}}, "Field required"),
        ({"event": {"name": ""}}, "pattern"),
        ({"event": {"name": "a b"}}, "pattern"),
        ({"event": {"name": "x" * 101}}, "pattern"),
        ({"event": {"name": 5}}, "valid string"),
        ({"event": {"name": "a", "keep": "31d"}}, "at most 30 days"),
        ({"event": {"name": "a", "keep": -1}}, "between 0 and 400 days"),
        ({"event": {"name": "a", "timeout": "soon"}}, "not a duration"),
        ({"event": {"name": "a", "more": 1}}, "Extra inputs"),
        ({"event": {"name": "a", "schema": []}}, "valid dictionary"),
        ({"callback": {"secret": "no secret"}}, "pattern"),
        ({"callback": {}, "timeout": "1h"}, "goes with `first`"),
        ({"first": {"a": {"callback": {}}}}, "at least 2"),
        ({"first": MANY}, "at most 8"),
        ({"first": {"a": {"callback": {}}, "b": {"callback": {}}}}, "at most one callback"),
        ({"first": {"a": {"until": 1}, "b": {"until": 2}}}, "at most one until"),
        ({"first": {"a": {"callback": {"timeout": "1h"}}, "b": {"until": 2}}}, "stands beside `first`"),
        ({"first": {"a": {"callback": {}, "until": 1}, "b": {"until": 2}}}, "exactly one of"),
        ({"first": {"A b": {"callback": {}}, "b": {"until": 2}}}, "pattern"),
        ({"first": {"a": {"first": {}}, "b": {"until": 2}}}, "Extra inputs"),
        ({"first": [{"callback": {}}]}, "valid dictionary"),
        ({"first": {"a": 1, "b": 2}}, "valid dictionary or instance"),
        ({"until": 1e300}, "between 0 and 1e11"),
        ({"until": "yesterday"}, "expected a time"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config("wait", config)


HEAD = "flow: f\ntitle: T\nsteps:\n  - id: w\n    wait: "


@pytest.mark.parametrize(
    ("wait", "rule"),
    [
        ("{event: {name: a, timeout: 1h, match: 'event.body == 1'}}", "expression-required"),
        ("{event: {name: a, timeout: 1h, match: '${{ event.body == }}'}}", "expression-syntax"),
        ("{event: {name: a, timeout: 1h, match: '${{ item == 1 }}'}}", "unknown-name"),
        ("{event: {name: a, timeout: 1h, match: 'x ${{ event.id }}'}}", "expression-required"),
        ("{event: {name: '${{ event.id }}', timeout: 1h}}", "unknown-name"),
        ("{event: {name: '${{ run.id }}', timeout: 1h, keep: 2d}}", "bad-value"),
        ("{event: {name: a, timeout: 1h, schema: {type: nonsense}}}", "invalid-schema"),
        ("{first: {a: {event: {name: a, schema: {pattern: '('}}}, b: {until: 5}}}", "invalid-regex"),
        ("{first: {a: {event: {name: a, match: '${{ nothing }}'}}, b: {until: 5}}}", "unknown-name"),
        ("{event: {name: a}}", "missing-timeout"),
        ("{callback: {timeout: 1h, secret: none-such}}", "unknown-secret"),
        ("{first: {a: {callback: {secret: none-such}}, b: {until: 5}}}", "unknown-secret"),
    ],
)
def test_lint_says_what_is_wrong(wait: str, rule: str) -> None:
    assert rule in {p.rule for p in lint(f"{HEAD}{wait}\n", known=Known(secrets=frozenset()))}


@pytest.mark.parametrize("wait", ["{event: a}", "{event: []}", "{first: {a: {event: 5}}}", "[]", "5", "{first: 5}"])
def test_lint_survives_nonsense(wait: str) -> None:
    assert any(p.is_error for p in lint(f"{HEAD}{wait}\n"))


@pytest.mark.parametrize(
    "wait",
    [
        "{event: {name: a, timeout: 1h, match: '${{ event.body.order == run.id }}', keep: 3d}}",
        "{event: {name: 'order-${{ run.id }}', timeout: 1h}}",
        "{first: {cb: {callback: }, ev: {event: {name: a}}, at: {until: '2030-01-01T00:00:00Z'}}}",
        "{first: {cb: {callback: {secret: hook}}, ev: {event: {name: a}}}, timeout: 1h}",
    ],
)
def test_lint_takes_what_is_right(wait: str) -> None:
    assert lint(f"{HEAD}{wait}\n", known=Known(secrets=frozenset({"hook"}))) == []


# -- calls -------------------------------------------------------------------------------------------------------
SIGNED = """\
flow: hold
folder: team
steps:
  - {id: hold, wait: {callback: {timeout: 1h, secret: hook}}}
  - {id: open, wait: {callback: {timeout: 1h}}}
"""
SECRET, FORMER, OTHER = (signing.new_secret(bytes([n]) * 32) for n in (1, 2, 3))


@pytest.fixture
def run(db: None) -> Iterator[Run]:
    set_secret(actor=SYSTEM, name="hook", value=FORMER)
    set_secret(actor=SYSTEM, name="hook", value=SECRET, overlap=DAY)
    create_flow(actor=SYSTEM, source=SIGNED)
    release = release_draft(actor=SYSTEM, slug="hold", version="1.0.0", live=True)
    yield start_run(actor=SYSTEM, flow=release.flow, input={}, release=release).run


def call(client: Client, run: Run, body: bytes, headers: dict[str, str], kind: str = "application/json") -> Any:
    return client.post(f"/callbacks/{tokens.make(run.pk, 0, -1, 1)}", body, content_type=kind, headers=headers)


def signed(body: bytes, secret: str = SECRET, at: float = 0.0, id_: str = "msg_1") -> dict[str, str]:
    return signing.headers([secret], id_, clock.now() + at, body)


BODY = json.dumps({"ok": "ä"}).encode()
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("the secret of now", {}),
    ("the former secret, in its overlap", {"secret": FORMER}),
    ("four minutes ago", {"at": -240}),
    ("four minutes ahead", {"at": 240}),
]


@pytest.mark.django_db
@pytest.mark.parametrize("how", [how for _, how in GOOD], ids=[name for name, _ in GOOD])
def test_a_signed_call_is_taken_and_its_repeat_told_the_same(client: Client, run: Run, how: dict[str, Any]) -> None:
    first, again = (call(client, run, BODY, signed(BODY, **how)) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.content == again.content
    assert WaitToken.objects.get(run_id=run.pk).answer == {"ok": "ä"}


@pytest.mark.django_db
def test_one_of_several_signatures_is_enough(client: Client, run: Run) -> None:
    headers = signed(BODY)
    headers["webhook-signature"] = f"v1,AAAA v1a,zzzz {headers['webhook-signature']}"
    assert call(client, run, BODY, headers).status_code == 202


def without(name: str) -> dict[str, str]:
    return {k: v for k, v in signed(BODY).items() if k != f"webhook-{name}"}


BAD: list[tuple[str, Any]] = [
    ("no signature at all", dict),
    ("no id", lambda: without("id")),
    ("no timestamp", lambda: without("timestamp")),
    ("no signature", lambda: without("signature")),
    ("another secret", lambda: signed(BODY, OTHER)),
    ("another body", lambda: signed(b"{}")),
    ("another id", lambda: {**signed(BODY), "webhook-id": "msg_2"}),
    ("another time", lambda: {**signed(BODY), "webhook-timestamp": str(int(clock.now()) + 1)}),
    ("six minutes ago", lambda: signed(BODY, at=-360)),
    ("six minutes ahead", lambda: signed(BODY, at=360)),
    ("a time that is no number", lambda: {**signed(BODY), "webhook-timestamp": "now"}),
    ("a huge time", lambda: {**signed(BODY), "webhook-timestamp": "9" * 500}),
    ("a time in other digits", lambda: {**signed(BODY), "webhook-timestamp": "\u0661"}),
    ("an id with a line end", lambda: {**signed(BODY), "webhook-id": "a\tb"}),
    ("a signature of another version", lambda: {k: v.replace("v1,", "v2,") for k, v in signed(BODY).items()}),
    ("not ASCII", lambda: {**signed(BODY), "webhook-signature": "v1,\xe4"}),
    ("an empty signature", lambda: {**signed(BODY), "webhook-signature": "v1,"}),
]


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [make for _, make in BAD], ids=[name for name, _ in BAD])
def test_a_call_that_proves_nothing_is_401_and_leaves_nothing(client: Client, run: Run, headers: Any) -> None:
    answer = call(client, run, BODY, headers())
    assert answer.status_code == 401 and answer.json()["error"]["code"] in {"bad_signature", "stale_timestamp"}
    assert not WaitToken.objects.exists()
    assert not RunEvent.objects.filter(run=run, type__startswith="callback").exists()


@pytest.mark.django_db
@pytest.mark.parametrize("value", [None, "no signing secret"])
def test_without_a_usable_secret_nobody_can_prove_anything(client: Client, run: Run, value: str | None) -> None:
    from resources.models import Secret

    Secret.objects.all().delete()
    if value:
        set_secret(actor=SYSTEM, name="hook", value=value)
    answer = call(client, run, BODY, signed(BODY))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "secret_missing")
    assert not WaitToken.objects.exists()


@pytest.mark.django_db
def test_after_the_end_of_the_run_a_call_is_410_and_recorded(client: Client, run: Run) -> None:
    cancel_run(actor=SYSTEM, run_id=run.pk)
    answer = call(client, run, BODY, signed(BODY))
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")
    assert RunEvent.objects.filter(run=run, type="callback.late").count() == 1


# -- bodies ------------------------------------------------------------------------------------------------------
FORM = "application/x-www-form-urlencoded"
BODIES: list[tuple[bytes, str, Any]] = [
    (b"", "application/json", None),
    (b'{"a": [1]}', "application/json; charset=utf-8", {"a": [1]}),
    (b'{"a": 1}', "application/cloudevents+json", {"a": 1}),
    (b'{"a": 1}', FORM, {"a": 1}),  # curl -d
    (b"5", FORM, 5),
    (urlencode({"a": "1 ä", "b": ""}).encode(), FORM, {"a": "1 ä", "b": ""}),
    (b"a=1&a=2&a=3", FORM, {"a": ["1", "2", "3"]}),
    ("wörter\n".encode(), "text/plain", "wörter\n"),
    (b"\0", "text/plain", "\0"),
    (b"<a/>", "application/xml", "<a/>"),
]


def answer_open(client: Client, run: Run, body: bytes, kind: str) -> Any:
    return client.generic("POST", f"/callbacks/{tokens.make(run.pk, 1, -1, 1)}", body, content_type=kind)


@pytest.mark.django_db
@pytest.mark.db_matrix
@pytest.mark.parametrize(("body", "kind", "payload"), BODIES)
def test_bodies_that_are_taken(client: Client, run: Run, body: bytes, kind: str, payload: Any) -> None:
    assert answer_open(client, run, body, kind).status_code == 202
    assert WaitToken.objects.get(run_id=run.pk).answer == payload


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_body"),
        (b"\xff", "application/json", 400, "malformed_body"),
        (b"NaN", "application/json", 400, "malformed_body"),
        (b"[" * 100 + b"]" * 100, "application/json", 400, "too_deep"),
        (b"[" * 100 + b"]" * 100, FORM, 400, "too_deep"),
        (b"x" * 1_100_000, "text/plain", 413, "too_large"),
        (b"\xff\xfe", "text/plain", 400, "bad_charset"),
        (b"x", "text/plain; charset=klingon", 415, "unsupported_charset"),
        (b"a=%ff", FORM, 400, "bad_charset"),
        (b"&".join(b"a=1" for _ in range(1001)), FORM, 413, "too_large"),
        (b"--x", "multipart/form-data; boundary=x", 415, "unsupported_media_type"),
        (b"\x00\x01", "application/octet-stream", 415, "unsupported_media_type"),
    ],
)
def test_hostile_bodies_are_refused_and_leave_nothing(
    client: Client, run: Run, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = answer_open(client, run, body, kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert not WaitToken.objects.exists()
