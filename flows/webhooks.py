"""What a webhook delivery means to a trigger. Pure: no database, no request object.

Order: address, signature, body, `if`, `dedupe`, `input`. Nothing a stranger sent is parsed or evaluated before its
signature holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows import bodies
from flows.bodies import Body, File
from flows.definition.expr import ExprError, Scope, render, truthy
from flows.definition.inputs import validate_input, with_defaults
from flows.definition.jsonguard import JsonError
from flows.definition.models_webhook import WebhookTrigger, hook_of
from flows.definition.plan import Plan, Trigger
from flows.signatures import AddressNotAllowed, BadSignature, Delivery, Proof, SecretMissing, prove
from resources.errors import BadInput

__all__ = [
    "Accepted",
    "AddressNotAllowed",
    "Answered",
    "BadSignature",
    "Delivery",
    "Ignored",
    "SecretMissing",
    "open_headers",
    "receive",
]

#: headers an expression may read: these, and x-… and webhook-…, less whatever may carry a credential
OPEN_HEADERS = frozenset({"content-type", "user-agent", "idempotency-key"})
OPEN_PREFIXES = ("x-", "webhook-", "ce-")
CLOSED_WORDS = ("signature", "token", "secret", "auth", "key", "cookie", "forwarded", "real-ip", "password")
MAX_DEDUPE = 200

Json = Any


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The sender asked for proof that somebody listens: the answer to give."""

    content: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Kept:
    """A file to be kept with the run, under this id."""

    id: str
    file: File


@dataclass(frozen=True, slots=True)
class Accepted:
    """Start a run with `input`. `dedupe_key` None: every delivery is a run of its own. `trigger`: what runs see."""

    input: Json
    dedupe_key: str | None
    trigger: dict[str, Json]
    files: tuple[Kept, ...] = ()


#: gives the id of a file: of the dedupe key (None: there is none), and the file's number in the delivery
NewId = Callable[[str | None, int], str]


def receive(
    plan: Plan,
    trigger: Trigger,
    delivery: Delivery,
    *,
    secrets: Sequence[str],
    max_bytes: int,
    now: float,
    new_id: NewId,
) -> Ignored | Answered | Accepted:
    """Decide about one delivery. `secrets`: every valid value, the current one first; `now`: epoch seconds.

    Raises AddressNotAllowed (403), BadSignature (401), SecretMissing (503), MalformedBody (400), TooLarge (413),
    UnsupportedMediaType (415), BadInput (422, `details`: [{path, message}]).
    """
    hook = hook_of(trigger.config)
    proof = prove(hook, delivery, secrets, now)
    if hook.verify == "github" and delivery.headers.get("x-github-event") == "ping":
        return Ignored("GitHub's ping: the hook is set up.")  # sent once to every new hook; it is no event
    body = bodies.read(delivery.headers, delivery.body, max_bytes=max_bytes)
    if hook.verify == "slack" and _is_challenge(body.value):
        return Answered({"challenge": body.value["challenge"]})
    try:
        return _decide(plan, trigger, hook, _seen(trigger, hook, delivery, body), body, proof, new_id)
    except ExprError as error:
        raise _unreadable(trigger, error) from error


def _decide(
    plan: Plan, trigger: Trigger, hook: WebhookTrigger, seen: dict[str, Json], body: Body, proof: Proof, new_id: NewId
) -> Ignored | Accepted:
    scope = Scope.of({"trigger": seen})
    if "if" in trigger.config and not truthy(hook.if_, scope):
        return Ignored("The trigger's `if` is false for this delivery.")
    key = _dedupe(hook.dedupe, scope) if hook.dedupe is not None else _own_id(hook, body.value, proof)
    kept = tuple(Kept(new_id(key, number), file) for number, file in enumerate(body.files))
    if kept:
        seen["body"] = _with_addresses(body.value, kept)
        scope = Scope.of({"trigger": seen})
    given = render(hook.input, scope) if hook.input is not None else _plain_input(plan, seen)
    return Accepted(_checked(plan, given), key, seen, kept)


def open_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that expressions may read and runs may keep."""
    return {
        name: value
        for name, value in headers.items()
        if name in OPEN_HEADERS or (name.startswith(OPEN_PREFIXES) and not any(w in name for w in CLOSED_WORDS))
    }


def _seen(trigger: Trigger, hook: WebhookTrigger, delivery: Delivery, body: Body) -> dict[str, Json]:
    """What expressions read; files are without their address until it is sure that they are kept."""
    value = _with_files(body.value, [(file.field, file.facts()) for file in body.files])
    own = {name.lower() for name in (hook.header, hook.signature and hook.signature.header) if name}
    headers = {name: text for name, text in open_headers(delivery.headers).items() if name not in own}
    return {
        "name": trigger.name, "kind": "webhook", "headers": headers, "query": dict(delivery.query), "body": value,
    }  # fmt: skip


def _with_addresses(form: Json, kept: Sequence[Kept]) -> Json:
    return _with_files(form, [(k.file.field, {"$res": f"res://{k.id}", **k.file.facts()}) for k in kept])


def _with_files(form: Json, files: Sequence[tuple[str, Json]]) -> Json:
    if not files:
        return form
    found: dict[str, list[Json]] = {}
    for field, facts in files:
        found.setdefault(field, []).append(facts)
    return {**form, **{field: facts[0] if len(facts) == 1 else facts for field, facts in found.items()}}


def _is_challenge(body: Json) -> bool:
    return isinstance(body, dict) and body.get("type") == "url_verification" and isinstance(body.get("challenge"), str)


def _dedupe(text: str, scope: Scope) -> str:
    key = render(text, scope)
    key = key if isinstance(key, str) else str(key)
    if not key or len(key) > MAX_DEDUPE:
        raise BadInput(f"The deduplication key must have 1 to {MAX_DEDUPE} characters.", code="bad_dedupe_key")
    return key


def _own_id(hook: WebhookTrigger, body: Json, proof: Proof) -> str | None:
    """What the sender itself calls the event, under its signature; else what tells a replay of this very delivery."""
    field = {"stripe": "id", "slack": "event_id"}.get(hook.verify)
    named = body.get(field) if field is not None and isinstance(body, dict) else None
    if isinstance(named, str) and 0 < len(named) <= MAX_DEDUPE - 10:
        return f"id:{named}"
    return proof.replay


def _plain_input(plan: Plan, seen: Mapping[str, Json]) -> Json:
    """Without `input` in the trigger the body is the input, when the flow declares one; else there is none."""
    return seen["body"] if plan.input_schema else {}


def _checked(plan: Plan, given: Json) -> Json:
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
