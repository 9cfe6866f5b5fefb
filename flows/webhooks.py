"""What a webhook delivery means to a trigger. Pure: no database, no request object.

Order: signature, then JSON, then `if`, `dedupe` and `input`. Nothing a stranger sent is parsed or
evaluated before its signature holds.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.definition.expr import ExprError, Scope, render, truthy
from flows.definition.inputs import validate_input, with_defaults
from flows.definition.jsonguard import JsonError
from flows.definition.plan import Plan, Trigger
from resources.errors import BadInput, MalformedBody, NotSignedIn, OrchestraError
from resources.jsonio import read_json

#: headers an expression may read: these, and x-… and webhook-…, less whatever may carry a credential
OPEN_HEADERS = frozenset({"content-type", "user-agent", "idempotency-key"})
OPEN_PREFIXES = ("x-", "webhook-", "ce-")
CLOSED_WORDS = ("signature", "token", "secret", "auth", "key", "cookie", "forwarded", "real-ip", "password")
MAX_DEDUPE = 200


class SecretMissing(OrchestraError):
    """Nothing can be proven: the trigger names a secret that nobody has set."""

    code = "secret_missing"
    status = 503


class BadSignature(NotSignedIn):
    """The delivery does not prove that it comes from who the trigger expects."""

    code = "bad_signature"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST as it came. `headers` have lower-case names; `body` is the raw bytes."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """Start a run with `input`. `dedupe_key` None: every delivery is a run of its own. `trigger`: what runs see."""

    input: Any
    dedupe_key: str | None
    trigger: dict[str, Any]


def receive(
    plan: Plan, trigger: Trigger, delivery: Delivery, *, secret: str | None, max_bytes: int
) -> Ignored | Accepted:
    """Decide about one delivery.

    Raises BadSignature (401), MalformedBody (400), TooLarge (413), BadInput (422, `details`: [{path, message}]).
    """
    kind = str(trigger.config.get("verify", "none"))
    verify(kind, delivery, secret)
    if kind == "github" and delivery.headers.get("x-github-event") == "ping":
        return Ignored("GitHub's ping: the hook is set up.")  # sent once to every new hook; it is no event
    seen = {
        "name": trigger.name,
        "kind": "webhook",
        "headers": open_headers(delivery.headers),
        "query": dict(delivery.query),
        "body": _body(delivery, max_bytes),
    }
    try:
        scope = Scope.of({"trigger": seen})
        condition = trigger.config.get("if")
        if condition is not None and not truthy(condition, scope):
            return Ignored("The trigger's `if` is false for this delivery.")
        key = _dedupe(trigger.config.get("dedupe"), scope)
        given = render(trigger.config["input"], scope) if "input" in trigger.config else _plain_input(plan, seen)
    except ExprError as error:
        raise _unreadable(trigger, error) from error
    return Accepted(_checked(plan, given), key, seen)


def verify(kind: str, delivery: Delivery, secret: str | None) -> None:
    """Raises BadSignature unless the delivery carries the proof that `kind` asks for."""
    if kind == "none":
        return
    if not secret:
        raise SecretMissing("The webhook's secret is not set.", hint="An admin sets it on the secrets page.")
    if kind == "github":
        _verify_github(delivery, secret)
    elif kind == "bearer":
        _verify_bearer(delivery, secret)
    else:
        raise BadSignature(f"This version cannot check signatures of the kind {kind!r}.")


def _verify_github(delivery: Delivery, secret: str) -> None:
    sent = delivery.headers.get("x-hub-signature-256", "")
    expected = "sha256=" + hmac.new(secret.encode(), delivery.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(sent.encode(), expected.encode()):
        raise BadSignature(
            "The signature does not fit the body." if sent else "The header X-Hub-Signature-256 is missing.",
            hint="Use the same secret in GitHub's webhook settings and in Orchestra.",
        )


def _verify_bearer(delivery: Delivery, secret: str) -> None:
    scheme, _, sent = delivery.headers.get("authorization", "").partition(" ")
    fits = hmac.compare_digest(sent.strip().encode(), secret.encode())
    if scheme.lower() != "bearer" or not fits:
        raise BadSignature("The bearer token is missing or wrong.", hint="Send `Authorization: Bearer …`.")


def open_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that expressions may read and runs may keep."""
    return {
        name: value
        for name, value in headers.items()
        if name in OPEN_HEADERS or (name.startswith(OPEN_PREFIXES) and not any(w in name for w in CLOSED_WORDS))
    }


def _body(delivery: Delivery, max_bytes: int) -> Any:
    kind = delivery.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise MalformedBody(
            f"The body is {kind}, not JSON.", hint="Set the webhook's content type to application/json."
        )
    if not delivery.body:
        return None
    return read_json(delivery.body, max_bytes=max_bytes)


def _dedupe(text: Any, scope: Scope) -> str | None:
    if text is None:
        return None
    key = render(text, scope)
    key = key if isinstance(key, str) else str(key)
    if not key or len(key) > MAX_DEDUPE:
        raise BadInput(f"The deduplication key must have 1 to {MAX_DEDUPE} characters.", code="bad_dedupe_key")
    return key


def _plain_input(plan: Plan, seen: Mapping[str, Any]) -> Any:
    """Without `input` in the trigger the body is the input, when the flow declares one; else there is none."""
    return seen["body"] if plan.input_schema else {}


def _checked(plan: Plan, given: Any) -> Any:
    try:
        value = with_defaults(plan.input_schema, given)
        problems = validate_input(plan.input_schema, value)
    except JsonError as error:
        raise BadInput(f"The input cannot be used: {error}") from error
    if problems:
        raise BadInput("The delivery does not give the input this flow needs.", details=problems)
    return value


def _unreadable(trigger: Trigger, error: ExprError) -> BadInput:
    return BadInput(
        f"The trigger {trigger.name!r} could not read this delivery: {error}",
        code="unreadable_delivery",
        hint="Compare the trigger's expressions with the body that was sent.",
    )
