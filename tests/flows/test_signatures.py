"""Every kind of proof: the right one, and each way to get it wrong. Vectors are those the senders publish."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.definition.models_webhook import WebhookTrigger
from flows.signatures import AddressNotAllowed, BadSignature, Delivery, SecretMissing, prove

NOW = 1_700_000_000.0
BODY = '{"name": "Åse ✓", "n": 1}'.encode()
SECRET = "sécret-☃-of-the-hook"
OLD = "the-one-before"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WHSEC_OLD = "whsec_" + base64.b64encode(b"another key of 24 bytes.").decode()
P256, P256_OLD = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ED, ED_OLD = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def mac(secret: str, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), message, algorithm).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def standard(secret: str, message: bytes) -> str:
    return "v1," + b64(hmac.new(base64.b64decode(secret.removeprefix("whsec_")), message, hashlib.sha256).digest())


#: (the signer's secret, body, epoch seconds) -> headers
Signer = Callable[[Any, bytes, int], dict[str, str]]


@dataclass(frozen=True)
class Sample:
    """`config` of the trigger; `sign` what a sender does; `current`, `before`: (what it signs with, our secret)."""

    config: dict[str, Any]
    sign: Signer
    current: tuple[Any, str] = (SECRET, SECRET)
    before: tuple[Any, str] = (OLD, OLD)
    covers_body: bool = True
    timed: bool = False


STAMPED = {"signed": "{timestamp}.{body}", "timestamp": "X-Time"}
KINDS: dict[str, Sample] = {
    "github": Sample(
        {"verify": "github"}, lambda s, b, t: {"x-hub-signature-256": "sha256=" + mac(s, b).hex()}
    ),
    "gitlab": Sample({"verify": "gitlab"}, lambda s, b, t: {"x-gitlab-token": s}, covers_body=False),
    "bearer": Sample({"verify": "bearer"}, lambda s, b, t: {"authorization": f"Bearer {s}"}, covers_body=False),
    "basic": Sample(
        {"verify": "basic"},
        lambda s, b, t: {"authorization": "Basic " + b64(s.encode())},
        current=("ana:pass:wörd", "ana:pass:wörd"), before=("ana:old", "ana:old"), covers_body=False,
    ),
    "api_key": Sample({"verify": "api_key"}, lambda s, b, t: {"x-api-key": s}, covers_body=False),
    "api_key in its own header": Sample(
        {"verify": "api_key", "header": "X-Acme-Pass"}, lambda s, b, t: {"x-acme-pass": s}, covers_body=False
    ),
    "stripe": Sample(
        {"verify": "stripe"},
        lambda s, b, t: {"stripe-signature": f"t={t},v0=aa,v1={'0' * 64},v1={mac(s, b'%d.' % t + b).hex()}"},
        timed=True,
    ),
    "slack": Sample(
        {"verify": "slack"},
        lambda s, b, t: {
            "x-slack-request-timestamp": str(t), "x-slack-signature": "v0=" + mac(s, b"v0:%d:" % t + b).hex(),
        },
        timed=True,
    ),
    "standard-webhooks": Sample(
        {"verify": "standard-webhooks"},
        lambda s, b, t: {
            "webhook-id": "msg_1", "webhook-timestamp": str(t),
            "webhook-signature": "v1,AAAA " + standard(s, b"msg_1.%d." % t + b),
        },
        current=(WHSEC, WHSEC), before=(WHSEC_OLD, WHSEC_OLD), timed=True,
    ),
    "standard-webhooks with the headers of svix": Sample(
        {"verify": "standard-webhooks"},
        lambda s, b, t: {
            "svix-id": "msg_1", "svix-timestamp": str(t), "svix-signature": standard(s, b"msg_1.%d." % t + b),
        },
        current=(WHSEC, WHSEC), before=(WHSEC_OLD, WHSEC_OLD), timed=True,
    ),
    "standard-webhooks with a public key": Sample(
        {"verify": "standard-webhooks"},
        lambda s, b, t: {
            "webhook-id": "m", "webhook-timestamp": str(t),
            "webhook-signature": "v1a," + b64(s.sign(b"m.%d." % t + b)),
        },
        current=(ED, "whpk_" + b64(ED.public_key().public_bytes_raw())),
        before=(ED_OLD, "whpk_" + b64(ED_OLD.public_key().public_bytes_raw())), timed=True,
    ),
    "hmac hex": Sample(
        {"verify": "hmac", "hmac": {"header": "X-Signature", "prefix": "sha256="}},
        lambda s, b, t: {"x-signature": "sha256=" + mac(s, b).hex()},
    ),
    "hmac base64 sha512": Sample(
        {"verify": "hmac", "hmac": {"header": "X-Signature", "algorithm": "sha512", "encoding": "base64"}},
        lambda s, b, t: {"x-signature": b64(mac(s, b, "sha512"))},
    ),
    "hmac sha1": Sample(
        {"verify": "hmac", "hmac": {"header": "X-Signature", "algorithm": "sha1"}},
        lambda s, b, t: {"x-signature": mac(s, b, "sha1").hex()},
    ),
    "hmac with a time": Sample(
        {"verify": "hmac", "hmac": {"header": "X-Signature", **STAMPED}},
        lambda s, b, t: {"x-time": str(t), "x-signature": mac(s, b"%d." % t + b).hex()}, timed=True,
    ),
    "hmac with the time behind": Sample(
        {"verify": "hmac", "hmac": {"header": "X-Signature", "signed": "a:{body}:{timestamp}", "timestamp": "X-Time"}},
        lambda s, b, t: {"x-time": str(t), "x-signature": mac(s, b"a:" + b + b":%d" % t).hex()}, timed=True,
    ),
    "ecdsa P-256": Sample(
        {"verify": "ecdsa", "ecdsa": {"header": "X-Signature", "encoding": "base64", **STAMPED}},
        lambda s, b, t: {"x-time": str(t), "x-signature": b64(s.sign(b"%d." % t + b, ec.ECDSA(hashes.SHA256())))},
        current=(P256, pem(P256)), before=(P256_OLD, pem(P256_OLD)), timed=True,
    ),
    "ecdsa Ed25519": Sample(
        {"verify": "ecdsa", "ecdsa": {"header": "X-Signature"}},
        lambda s, b, t: {"x-signature": s.sign(b).hex()},
        current=(ED, pem(ED)), before=(ED_OLD, ED_OLD.public_key().public_bytes_raw().hex()),
    ),
}  # fmt: skip


def hook_of(sample: Sample, **more: Any) -> WebhookTrigger:
    return WebhookTrigger.model_validate({**sample.config, "secret": "s", **more})


def signed(sample: Sample, *, body: bytes = BODY, at: float = NOW, key: Any = None) -> Delivery:
    return Delivery(sample.sign(key or sample.current[0], body, int(at)), {}, body)


def take(sample: Sample, delivery: Delivery, secrets: list[str] | None = None, **more: Any) -> Any:
    return prove(hook_of(sample, **more), delivery, [sample.current[1]] if secrets is None else secrets, NOW)


each = pytest.mark.parametrize("sample", KINDS.values(), ids=KINDS)
timed = pytest.mark.parametrize(
    "sample", [s for s in KINDS.values() if s.timed], ids=[n for n, s in KINDS.items() if s.timed]
)


@each
def test_the_right_proof_is_taken_and_only_a_timed_one_tells_a_replay(sample: Sample) -> None:
    assert (take(sample, signed(sample)).replay is not None) == sample.timed


@each
def test_another_secret_proves_nothing(sample: Sample) -> None:
    with pytest.raises(BadSignature) as caught:
        take(sample, signed(sample, key=sample.before[0]))
    assert (caught.value.stable_code, caught.value.status) == ("bad_signature", 401)


@each
def test_while_a_secret_changes_both_values_prove_it_and_then_only_the_new_one(sample: Sample) -> None:
    both = [sample.current[1], sample.before[1]]
    take(sample, signed(sample), both)
    take(sample, signed(sample, key=sample.before[0]), both)
    with pytest.raises(BadSignature):
        take(sample, signed(sample, key=sample.before[0]), both[:1])


@each
def test_each_missing_header_is_named_or_its_value_refused(sample: Sample) -> None:
    whole = signed(sample)
    for name in whole.headers:
        left = {k: v for k, v in whole.headers.items() if k != name}
        for headers in (left, {**left, name: ""}):
            with pytest.raises(BadSignature):
                take(sample, replace(whole, headers=headers))


@each
def test_a_changed_proof_is_refused_and_a_strange_one_never_breaks(sample: Sample) -> None:
    whole = signed(sample)
    for name, value in whole.headers.items():
        if name.endswith("-id"):
            continue
        for wrong in (value[:-8], value + "é", "☃", "=" * 9, value[::-1], "v1,", "\x00", "9" * 5000, "t=1,v1=é"):
            with pytest.raises(BadSignature):
                take(sample, replace(whole, headers={**whole.headers, name: wrong}))


@each
def test_another_body_is_refused_where_the_body_is_signed(sample: Sample) -> None:
    other = replace(signed(sample), body=BODY.replace(b"1", b"2"))
    if sample.covers_body:
        with pytest.raises(BadSignature):
            take(sample, other)
    else:
        assert take(sample, other).replay is None


@each
def test_a_body_of_any_bytes_can_be_signed(sample: Sample) -> None:
    for body in (b"", b"\x00\xff\xfe", b"%d {body} {timestamp}"):
        take(sample, signed(sample, body=body))


@each
def test_a_secret_nobody_set_lets_nobody_in(sample: Sample) -> None:
    for secrets in ([], [""]):
        with pytest.raises(SecretMissing):
            take(sample, signed(sample), secrets)


@timed
@pytest.mark.parametrize(("at", "fits"), [(-299, True), (299, True), (-301, False), (301, False), (-90000, False)])
def test_a_signed_time_may_be_five_minutes_off_either_way(sample: Sample, at: int, fits: bool) -> None:
    delivery = signed(sample, at=NOW + at)
    if fits:
        take(sample, delivery)
        return
    with pytest.raises(BadSignature) as caught:
        take(sample, delivery)
    assert caught.value.stable_code == "stale_timestamp"
    assert ("old" if at < 0 else "ahead") in caught.value.message


@timed
def test_the_tolerance_is_the_flows(sample: Sample) -> None:
    take(sample, signed(sample, at=NOW - 3000), tolerance="1h")
    with pytest.raises(BadSignature):
        take(sample, signed(sample, at=NOW - 20), tolerance="10s")


@timed
def test_a_newer_time_on_an_old_signature_is_refused(sample: Sample) -> None:
    old = signed(sample, at=NOW - 4000)
    fresh = {name: value.replace(str(int(NOW - 4000)), str(int(NOW))) for name, value in old.headers.items()}
    assert fresh != old.headers
    with pytest.raises(BadSignature) as caught:
        take(sample, replace(old, headers=fresh))
    assert caught.value.stable_code == "bad_signature"


@timed
def test_the_same_delivery_again_is_known_by_its_replay_mark_and_another_is_not(sample: Sample) -> None:
    first = take(sample, signed(sample)).replay
    assert take(sample, signed(sample)).replay == first
    if "standard" not in sample.config["verify"]:  # there the sender's id is the mark
        assert take(sample, signed(sample, body=b"{}")).replay != first


@pytest.mark.parametrize("name", ["github", "hmac hex", "stripe", "slack", "ecdsa Ed25519"])
def test_hex_in_capitals_is_the_same_signature(name: str) -> None:
    sample = KINDS[name]
    whole = signed(sample)
    headers = {k: "".join(_upper_hex(part) for part in v.partition("=")) if name != "stripe" else _upper_stripe(v)
               for k, v in whole.headers.items()}  # fmt: skip
    take(sample, replace(whole, headers=headers))


def _upper_hex(text: str) -> str:
    return text.upper() if len(text) >= 40 else text


def _upper_stripe(text: str) -> str:
    return ",".join("=".join(_upper_hex(part) for part in pair.split("=")) for pair in text.split(","))


@pytest.mark.parametrize(
    "stamp", ["1700000000123", "1700000000.5", "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00"]
)
def test_a_time_is_seconds_milliseconds_or_iso(stamp: str) -> None:
    sample = KINDS["hmac with a time"]
    headers = {"x-time": stamp, "x-signature": mac(SECRET, stamp.encode() + b"." + BODY).hex()}
    assert take(sample, Delivery(headers, {}, BODY)).replay


def test_a_signature_of_p256_may_be_r_and_s() -> None:
    sample = KINDS["ecdsa P-256"]
    r, s = decode_dss_signature(P256.sign(b"1700000000." + BODY, ec.ECDSA(hashes.SHA256())))
    headers = {"x-time": "1700000000", "x-signature": b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}
    take(sample, Delivery(headers, {}, BODY))


def test_a_public_key_may_stand_in_the_flow() -> None:
    config = {"verify": "ecdsa", "ecdsa": {"header": "X-Signature", "key": pem(ED)}}
    hook = WebhookTrigger.model_validate(config)
    assert prove(hook, Delivery({"x-signature": ED.sign(BODY).hex()}, {}, BODY), [], NOW).replay is None


def test_secrets_of_the_wrong_shape_are_our_fault_not_the_senders() -> None:
    for name, wrong in (("basic", "no-colon"), ("standard-webhooks", "whsec_%%"), ("ecdsa P-256", "no key")):
        with pytest.raises(SecretMissing) as caught:
            take(KINDS[name], signed(KINDS[name]), [wrong])
        assert caught.value.hint and caught.value.status == 503


# -- what the senders publish ------------------------------------------------------------------------------------
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
    b"803a0bc887a14d10d2c447fce8b6703c"
)
VECTORS: dict[str, tuple[str, str, float, Delivery]] = {
    "GitHub, docs: validating webhook deliveries": (
        "github", "It's a Secret to Everybody", 0.0,
        Delivery({"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
                 {}, b"Hello, World!"),
    ),
    "Slack, docs: verifying requests": (
        "slack", "8f742231b10e8888abcd99yyyzzz85a5", 1531420618.0,
        Delivery({"x-slack-request-timestamp": "1531420618",
                  "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
                 {}, SLACK_BODY),
    ),
    "Standard Webhooks, reference libraries": (
        "standard-webhooks", WHSEC, 1614265330.0,
        Delivery({"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
                  "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
                 {}, b'{"test": 2432232314}'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_published_vectors_hold(vector: tuple[str, str, float, Delivery]) -> None:
    kind, secret, now, delivery = vector
    hook = WebhookTrigger.model_validate({"verify": kind, "secret": "s"})
    prove(hook, delivery, [secret], now)
    with pytest.raises(BadSignature):
        prove(hook, replace(delivery, body=delivery.body + b" "), [secret], now)


def test_hmac_and_ed25519_of_the_rfcs() -> None:
    hook = WebhookTrigger.model_validate({"verify": "hmac", "secret": "s", "hmac": {"header": "X-S"}})
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"  # RFC 4231, case 2
    prove(hook, Delivery({"x-s": known}, {}, b"what do ya want for nothing?"), ["Jefe"], NOW)
    key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"  # RFC 8032, 7.1, test 2
    known = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    asym = WebhookTrigger.model_validate({"verify": "ecdsa", "ecdsa": {"header": "X-S", "key": key}})
    prove(asym, Delivery({"x-s": known}, {}, b"\x72"), [], NOW)


# -- addresses ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("203.0.113.7", True), ("::ffff:203.0.113.7", True), ("2001:db8::1", True), ("203.0.114.1", False),
        ("2001:db9::1", False), ("", False), ("nonsense", False), ("203.0.113.7:80", False),
    ],
)  # fmt: skip
def test_only_listed_addresses_may_call(address: str, fits: bool) -> None:
    allow = ["203.0.113.0/24", "2001:db8::/32"]
    hook = WebhookTrigger.model_validate({"verify": "none", "allow": allow})
    if fits:
        prove(hook, Delivery({}, {}, b"", address), [], NOW)
        return
    with pytest.raises(AddressNotAllowed) as caught:
        prove(hook, Delivery({}, {}, b"", address), [], NOW)
    assert (caught.value.status, caught.value.stable_code) == (403, "address_not_allowed")


def test_an_address_alone_is_no_signature() -> None:
    hook = WebhookTrigger.model_validate({"verify": "bearer", "secret": "s", "allow": ["203.0.113.7"]})
    with pytest.raises(BadSignature):
        prove(hook, Delivery({}, {}, b"", "203.0.113.7"), [SECRET], NOW)


# -- nonsense ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "config",
    [
        {"verify": "hmac", "secret": "s"},
        {"verify": "hmac", "hmac": {"header": "X-S"}},
        {"verify": "github", "secret": "s", "hmac": {"header": "X-S"}},
        {"verify": "hmac", "secret": "s", "hmac": {"header": "X S"}},
        {"verify": "hmac", "secret": "s", "hmac": {"header": "X-S", "algorithm": "md5"}},
        {"verify": "hmac", "secret": "s", "hmac": {"header": "X-S", "timestamp": "X-T"}},
        {"verify": "hmac", "secret": "s", "hmac": {"header": "X-S", "signed": "{timestamp}.{body}"}},
        {"verify": "hmac", "secret": "s", "hmac": {"header": "X-S", "signed": "{url}{body}"}},
        {"verify": "hmac", "secret": "s", "hmac": {"header": "X-S", "signed": "nothing"}},
        {"verify": "ecdsa", "ecdsa": {"header": "X-S"}},
        {"verify": "ecdsa", "ecdsa": {"header": "X-S", "key": "no key"}},
        {"verify": "ecdsa", "secret": "s", "ecdsa": {"header": "X-S", "key": pem(ED)}},
        {"verify": "github", "secret": "s", "tolerance": "5m"},
        {"verify": "github", "secret": "s", "header": "X-S"},
        {"verify": "slack", "secret": "s", "tolerance": "2d"},
        {"verify": "none", "allow": []},
        {"verify": "none", "allow": ["203.0.113.7/24"]},
        {"verify": "none", "allow": ["example.com"]},
        {"verify": "none", "secret": "s"},
        {"verify": "none", "respond": {"wait": "61s"}},
        {"verify": "standard"},
    ],
)
def test_what_does_not_go_together_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebhookTrigger.model_validate(config)


@given(st.text(max_size=200), st.sampled_from(sorted(KINDS)))
def test_no_text_in_any_header_breaks_a_check(text: str, name: str) -> None:
    sample = KINDS[name]
    whole = signed(sample)
    for header in whole.headers:
        try:
            take(sample, replace(whole, headers={**whole.headers, header: text}))
        except BadSignature as error:
            assert error.message.endswith(".")
        else:
            assert header.endswith("-id") or whole.headers[header] == text
