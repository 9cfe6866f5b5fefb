"""Who sent a delivery: one check a kind of `verify`. Pure: no database, no clock, no request object.

Every comparison of something secret takes the same time whatever was sent, and every still valid value of the secret
is tried, so that it can be changed without a lost delivery.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flows.definition.models_webhook import Signature, WebhookTrigger
from flows.definition.public_keys import read_public_key, verifies
from resources.errors import NotAllowed, NotSignedIn, OrchestraError

#: signatures of one delivery that are looked at; senders give one for each key they are changing between
MAX_SIGNATURES = 16
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_MILLISECONDS = re.compile(r"\d{13}", re.ASCII)


class SecretMissing(OrchestraError):
    """Nothing can be proven: the trigger names a secret that nobody has set, or that cannot be of use."""

    code = "secret_missing"
    status = 503


class BadSignature(NotSignedIn):
    """The delivery does not prove that it comes from who the trigger expects."""

    code = "bad_signature"


class AddressNotAllowed(NotAllowed):
    code = "address_not_allowed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST as it came. `headers` have lower-case names; `body` is the raw bytes; `address` the client's."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    address: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """`replay`: a text that the same delivery, sent again by whoever heard it, has too; None where none is proven."""

    replay: str | None = None


Check = Callable[[WebhookTrigger, Delivery, Sequence[str], float], Proof]


def prove(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    """Check address and signature. `secrets`: every valid value, the current one first; `now`: epoch seconds.

    Raises AddressNotAllowed (403), SecretMissing (503), BadSignature (401; code `stale_timestamp` for its time).
    """
    _check_address(hook, delivery.address)
    if hook.verify == "none":
        return Proof()
    if hook.ecdsa is not None and hook.ecdsa.key is not None:
        secrets = [hook.ecdsa.key]
    usable = [secret for secret in secrets if secret]
    if not usable:
        raise SecretMissing("The webhook's secret is not set.", hint="An admin sets it on the secrets page.")
    return _CHECKS[hook.verify](hook, delivery, usable, now)


def _check_address(hook: WebhookTrigger, address: str) -> None:
    if hook.allow is None:
        return
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        ip = None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip is None or not any(ip in ipaddress.ip_network(network) for network in hook.allow):
        raise AddressNotAllowed(
            f"The address {address[:64] or 'of this call'} may not call this webhook.",
            hint="The flow's `allow` lists who may. Behind a proxy, an admin sets TRUSTED_PROXIES.",
        )


# -- kinds -----------------------------------------------------------------------------------------------------
def _github(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    shape = Signature(header="X-Hub-Signature-256", prefix="sha256=")
    sent = _header(delivery, shape.header)
    if not _has_mac(shape, "sha256", sent, delivery.body, secrets):
        raise _wrong("Use the same secret in GitHub's webhook settings and in Orchestra.")
    return Proof()


def _gitlab(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    _require(_same_text(_header(delivery, "X-Gitlab-Token"), secrets), "The token in X-Gitlab-Token is wrong.")
    return Proof()


def _bearer(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    scheme, _, sent = delivery.headers.get("authorization", "").partition(" ")
    fits = _same_text(sent.strip(), secrets)
    if scheme.lower() != "bearer" or not fits:
        raise BadSignature("The bearer token is missing or wrong.", hint="Send `Authorization: Bearer …`.")
    return Proof()


def _basic(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    if not all(":" in secret for secret in secrets):
        raise SecretMissing("The webhook's secret is no user and password.", hint="Set it as `user:password`.")
    scheme, _, sent = delivery.headers.get("authorization", "").partition(" ")
    given = _decoded("base64", sent.strip()) or b""
    fits = _any(hmac.compare_digest(given, secret.encode()) for secret in secrets)
    if scheme.lower() != "basic" or not fits:
        raise BadSignature("User or password is missing or wrong.", hint="Send `Authorization: Basic …`.")
    return Proof()


def _api_key(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    name = hook.header or "X-API-Key"
    _require(_same_text(_header(delivery, name), secrets), f"The key in {name} is wrong.")
    return Proof()


def _stripe(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    pairs = [pair.strip().partition("=") for pair in _header(delivery, "Stripe-Signature").split(",")]
    stamp = next((value for name, _, value in pairs if name == "t"), "")
    _check_time(stamp, hook.skew, now)
    message = stamp.encode() + b"." + delivery.body
    sent = [value for name, _, value in pairs if name == "v1"][:MAX_SIGNATURES]
    shape = Signature(header="Stripe-Signature")
    if not _any(_has_mac(shape, "sha256", one, message, secrets) for one in sent):
        raise _wrong("Use the signing secret of this endpoint (whsec_…) from Stripe's dashboard.")
    return Proof(_replay(message))


def _slack(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    shape = Signature(header="X-Slack-Signature", prefix="v0=")
    sent, stamp = _header(delivery, shape.header), _header(delivery, "X-Slack-Request-Timestamp")
    _check_time(stamp, hook.skew, now)
    message = b"v0:" + stamp.encode() + b":" + delivery.body
    if not _has_mac(shape, "sha256", sent, message, secrets):
        raise _wrong("Use the signing secret of the app, from its page Basic Information.")
    return Proof(_replay(message))


def _standard(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    """Version 1 of the scheme: `v1` (HMAC, whsec_…) and `v1a` (Ed25519, whpk_…). Svix's names of headers do, too."""
    prefix = "svix" if "webhook-id" not in delivery.headers and "svix-id" in delivery.headers else "webhook"
    message_id, stamp, sent = (_header(delivery, f"{prefix}-{part}") for part in ("id", "timestamp", "signature"))
    _check_time(stamp, hook.skew, now)
    message = f"{message_id}.{stamp}.".encode() + delivery.body
    marks = [mark.partition(",") for mark in sent.split(" ")][:MAX_SIGNATURES]
    if not _any(_standard_fits(mark, message, secret) for mark in marks for secret in secrets):
        raise _wrong("Use the same whsec_… on both sides.")
    return Proof(f"id:{message_id}" if len(message_id) <= 150 else _replay(message))


def _standard_fits(mark: tuple[str, str, str], message: bytes, secret: str) -> bool:
    version, _, text = mark
    given = _decoded("base64", text) or b""
    if secret.startswith("whpk_"):
        raw = _key_bytes(secret.removeprefix("whpk_"))
        return version == "v1a" and len(raw) == 32 and verifies(read_public_key(raw.hex()), given, message)
    key = _key_bytes(secret.removeprefix("whsec_"))
    return version == "v1" and hmac.compare_digest(given, hmac.new(key, message, hashlib.sha256).digest())


def _key_bytes(text: str) -> bytes:
    key = _decoded("base64", text)
    if not key:
        raise SecretMissing("The webhook's secret is no key of this kind.", hint="It is whsec_ and base64, or whpk_.")
    return key


def _hmac(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    shape = hook.hmac
    assert shape is not None  # noqa: S101  the model says so
    sent, message = _header(delivery, shape.header), _message(shape, hook, delivery, now)
    if not _has_mac(shape, shape.algorithm, sent, message, secrets):
        raise _wrong("Compare the secret, and what is signed, with the sender's documentation.")
    return Proof(_replay(message) if shape.timestamp else None)


def _ecdsa(hook: WebhookTrigger, delivery: Delivery, secrets: Sequence[str], now: float) -> Proof:
    shape = hook.ecdsa
    assert shape is not None  # noqa: S101  the model says so
    sent, message = _header(delivery, shape.header), _message(shape, hook, delivery, now)
    given = _decoded(shape.encoding, sent.removeprefix(shape.prefix)) if sent.startswith(shape.prefix) else None
    try:
        keys = [read_public_key(text) for text in secrets]
    except ValueError as error:
        raise SecretMissing(f"The webhook's secret is not usable: {error}.", hint="Set the public key.") from None
    if given is None or not any(verifies(key, given, message) for key in keys):
        raise _wrong("Compare the public key, and what is signed, with the sender's documentation.")
    return Proof(_replay(message) if shape.timestamp else None)


_CHECKS: Mapping[str, Check] = {
    "github": _github,
    "gitlab": _gitlab,
    "stripe": _stripe,
    "slack": _slack,
    "standard-webhooks": _standard,
    "hmac": _hmac,
    "ecdsa": _ecdsa,
    "bearer": _bearer,
    "basic": _basic,
    "api_key": _api_key,
}


# -- parts -----------------------------------------------------------------------------------------------------
def _header(delivery: Delivery, name: str) -> str:
    found = delivery.headers.get(name.lower(), "").strip()
    if not found:
        raise BadSignature(f"The header {name} is missing.", hint="The flow's page says how to sign a delivery.")
    return found


def _message(shape: Signature, hook: WebhookTrigger, delivery: Delivery, now: float) -> bytes:
    """What must be signed; of a stamp, its age is checked first."""
    stamp = ""
    if shape.timestamp is not None:
        stamp = _header(delivery, shape.timestamp)
        _check_time(stamp, hook.skew, now)
    before, _, after = shape.signed.partition("{body}")
    return before.replace("{timestamp}", stamp).encode() + delivery.body + after.replace("{timestamp}", stamp).encode()


def _check_time(stamp: str, skew: float, now: float) -> None:
    sent = _seconds(stamp)
    if sent is None:
        raise BadSignature(f"The timestamp {stamp[:40]!r} is no time.", hint="Send seconds since 1970.")
    off = now - sent
    if abs(off) > skew:
        where = "old" if off > 0 else "ahead of our clock"
        raise BadSignature(
            f"The timestamp is {abs(off):.0f} s {where}; {skew:g} s are allowed.",
            code="stale_timestamp",
            hint="Check the sender's clock, and send again with a new signature.",
        )


def _seconds(stamp: str) -> float | None:
    """Epoch seconds, milliseconds (13 digits) or ISO 8601 with its zone."""
    if _MILLISECONDS.fullmatch(stamp):
        return int(stamp) / 1000
    if _SECONDS.fullmatch(stamp):
        return float(stamp)
    try:
        moment = datetime.fromisoformat(stamp) if len(stamp) <= 40 else None
    except ValueError:
        return None
    return moment.timestamp() if moment is not None and moment.tzinfo is not None else None


def _has_mac(shape: Signature, algorithm: str, sent: str, message: bytes, secrets: Sequence[str]) -> bool:
    given = (_decoded(shape.encoding, sent[len(shape.prefix) :]) if sent.startswith(shape.prefix) else None) or b""
    return _any(
        hmac.compare_digest(given, hmac.new(secret.encode(), message, algorithm).digest()) for secret in secrets
    )


def _decoded(encoding: str, text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None


def _same_text(sent: str, secrets: Sequence[str]) -> bool:
    """Header values arrive as latin-1; a sender who means UTF-8 is understood, too."""
    ways = [sent.encode()]
    with contextlib.suppress(UnicodeEncodeError):  # then it cannot have come as bytes of a header
        ways.append(sent.encode("latin-1"))
    return _any(hmac.compare_digest(way, secret.encode()) for way in ways for secret in secrets)


def _any(found: Iterable[bool]) -> bool:
    """As any(), but all of them are asked: how long it takes says nothing."""
    return True in list(found)


def _replay(message: bytes) -> str:
    return f"sha256:{hashlib.sha256(message).hexdigest()}"


def _require(fits: bool, message: str) -> None:
    if not fits:
        raise BadSignature(message, hint="Send the value of the secret that the trigger names.")


def _wrong(hint: str) -> BadSignature:
    return BadSignature("The signature does not fit the body.", hint=hint)
