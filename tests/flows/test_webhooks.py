"""What a delivery means to a trigger: pure, no database."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote

import pytest

from flows.definition.compiler import compile_source
from flows.definition.plan import Plan
from flows.webhooks import Accepted, BadSignature, Delivery, Ignored, SecretMissing, open_headers, receive
from resources.errors import BadInput, MalformedBody, TooLarge
from tests.flows.conftest import SOURCE

SECRET = "s3cret"
MIB = 1024 * 1024


def plan() -> Plan:
    made, problems = compile_source(SOURCE)
    assert made is not None, problems
    return made


def signed(body: Any, secret: str = SECRET, **headers: str) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    mark = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    return Delivery(
        {"x-hub-signature-256": mark, "x-github-delivery": "d-1", "content-type": "application/json", **headers},
        {},
        raw,
    )


def receive_as(made: Plan, name: str, delivery: Delivery, secret: str | None) -> Any:
    trigger = made.trigger(name)
    assert trigger is not None
    ids = iter("abc")
    return receive(
        made, trigger, delivery, secrets=[secret or ""], max_bytes=MIB, now=0.0, new_id=lambda key, n: f"{next(ids)}{n}"
    )


def take(delivery: Delivery, name: str = "github", secret: str | None = SECRET) -> Any:
    return receive_as(plan(), name, delivery, secret)


def test_a_signed_delivery_becomes_input_and_dedupe_key() -> None:
    outcome = take(signed({"action": "published", "name": "Ada"}))
    assert isinstance(outcome, Accepted)
    assert outcome.input == {"name": "Ada", "times": 1}
    assert outcome.dedupe_key == "d-1"
    assert outcome.trigger["kind"] == "webhook"


def test_what_the_condition_excludes_is_ignored() -> None:
    assert isinstance(take(signed({"action": "created", "name": "Ada"})), Ignored)


@pytest.mark.parametrize("mark", ["", "sha256=", "sha256=" + "0" * 64, "sha1=abc", "sha256=é"])
def test_a_wrong_signature_is_refused_before_the_body_is_read(mark: str) -> None:
    delivery = signed(b"{not json")
    with pytest.raises(BadSignature):
        take(Delivery({**delivery.headers, "x-hub-signature-256": mark}, {}, delivery.body))


def test_a_body_changed_after_signing_is_refused() -> None:
    delivery = signed({"action": "published", "name": "Ada"})
    with pytest.raises(BadSignature):
        take(Delivery(delivery.headers, {}, delivery.body.replace(b"Ada", b"Eve")))


def test_a_secret_nobody_set_lets_nothing_in() -> None:
    with pytest.raises(SecretMissing):
        take(signed({}, secret=""), secret=None)
    with pytest.raises(SecretMissing):
        take(signed({}, secret=""), secret="")


def test_input_that_breaks_the_schema_says_where() -> None:
    with pytest.raises(BadInput) as caught:
        take(signed({"action": "published", "name": ""}))
    assert caught.value.details[0]["path"] == ["name"]


def test_a_body_an_expression_cannot_read_is_the_senders_error() -> None:
    with pytest.raises(BadInput) as caught:
        take(signed({"something": "else"}))
    assert caught.value.stable_code == "unreadable_delivery"


@pytest.mark.parametrize("body", [b"{", b"[" * 100 + b"]" * 100, b'"\\ud800"'])
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        take(signed(body))


def test_a_form_with_nothing_but_a_payload_is_read_as_its_json() -> None:
    raw = b"payload=" + quote('{"action": "published", "name": "Ada"}').encode()
    outcome = take(signed(raw, **{"content-type": "application/x-www-form-urlencoded"}))
    assert isinstance(outcome, Accepted)
    assert outcome.input == {"name": "Ada", "times": 1}


def test_the_header_that_carries_the_proof_is_not_shown_whatever_its_name() -> None:
    text = SOURCE.replace("{name: open, verify: none}", "{name: open, verify: api_key, header: X-Pass, secret: s}")
    made, problems = compile_source(text)
    assert made is not None, problems
    outcome = receive_as(made, "open", Delivery({"x-pass": SECRET, "x-kind": "a"}, {}, b'{"name": "Bo"}'), SECRET)
    assert outcome.trigger["headers"] == {"x-kind": "a"}


FILES = (
    b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\nBo\r\n'
    b'--B\r\nContent-Disposition: form-data; name="cv"; filename="cv.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nhi\r\n--B--\r\n"
)


def test_a_file_has_its_address_in_the_input_and_not_yet_in_the_dedupe_key() -> None:
    hook = "{name: open, verify: none, dedupe: '${{ trigger.body.cv.sha256 }}'}"
    text = SOURCE.replace("{name: open, verify: none}", hook).replace(
        "times: {", "cv: {type: object, required: [$res]}\n    times: {"
    )
    made, problems = compile_source(text)
    assert made is not None, problems
    outcome = receive_as(made, "open", Delivery({"content-type": "multipart/form-data; boundary=B"}, {}, FILES), None)
    assert outcome.input["cv"]["$res"] == "res://a0"
    assert outcome.dedupe_key == outcome.input["cv"]["sha256"] == hashlib.sha256(b"hi").hexdigest()
    assert [(kept.id, kept.file.data) for kept in outcome.files] == [("a0", b"hi")]


def test_a_large_body_is_refused() -> None:
    with pytest.raises(TooLarge):
        take(signed(b" " * (MIB + 1)))


def test_without_an_input_mapping_the_body_is_the_input() -> None:
    outcome = take(Delivery({}, {"q": "1"}, b'{"name": "Bo"}'), name="open", secret=None)
    assert isinstance(outcome, Accepted)
    assert outcome.input == {"name": "Bo", "times": 1}
    assert outcome.trigger["query"] == {"q": "1"}
    assert outcome.dedupe_key is None


def test_headers_that_carry_credentials_reach_no_expression() -> None:
    headers = {
        "authorization": "Bearer x",
        "cookie": "a=b",
        "x-hub-signature-256": "s",
        "x-api-key": "k",
        "x-gitlab-token": "t",
        "x-forwarded-for": "1.2.3.4",
        "proxy-authorization": "p",
        "x-github-event": "release",
        "user-agent": "GitHub",
        "host": "h",
    }
    assert open_headers(headers) == {"x-github-event": "release", "user-agent": "GitHub"}


def test_a_bearer_trigger_takes_only_its_token() -> None:
    text = SOURCE.replace("{name: open, verify: none}", "{name: open, verify: bearer, secret: open-token}")
    made, problems = compile_source(text)
    assert made is not None, problems
    for header in ("", "Bearer", "Bearer wrong", "Basic s3cret", "s3cret"):
        with pytest.raises(BadSignature):
            receive_as(made, "open", Delivery({"authorization": header}, {}, b"{}"), SECRET)
    good = Delivery({"authorization": "bearer s3cret"}, {}, b'{"name": "Bo"}')
    assert isinstance(receive_as(made, "open", good, SECRET), Accepted)


def test_the_ping_of_a_new_github_hook_is_ignored_once_its_signature_holds() -> None:
    ping = signed({"zen": "Keep it simple."}, **{"x-github-event": "ping"})
    assert isinstance(take(ping), Ignored)
    with pytest.raises(BadSignature):
        take(signed({"zen": "…"}, secret="other", **{"x-github-event": "ping"}))
