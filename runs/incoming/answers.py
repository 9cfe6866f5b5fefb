"""A call that answers a wait: is it signed as the wait asks, and what does its body say?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest

from flows import bodies
from flows.definition.models_webhook import WebhookTrigger
from flows.signatures import Delivery, prove
from resources.errors import UnsupportedMediaType
from resources.jsonio import read_json
from runs import clock, masks, tokens
from runs.incoming import calls

Json = Any
FORM: Final = "application/x-www-form-urlencoded"
FILES: Final = "multipart/form-data"


def check_signature(callback: Mapping[str, Json] | None, request: HttpRequest, body: bytes) -> None:
    """By the Standard Webhooks scheme, where the wait names a secret; before anything of the body is looked at.

    Raises BadSignature, SecretMissing.
    """
    name = (callback or {}).get("secret")
    if name is None:
        return
    headers = {key.lower(): value for key, value in request.headers.items()}
    hook = WebhookTrigger(verify="standard-webhooks", secret=name)
    prove(hook, Delivery(headers, {}, body), calls.values_of(name), clock.now())


def masked(token: str, payload: Json) -> Json:
    """Without the secrets that the run knows. Outside of transactions. Raises backends.errors.Unreachable."""
    address = tokens.read(token)
    return payload if address is None else masks.of_run(address.run_id).tree(payload)


def payload_of(request: HttpRequest, body: bytes) -> Json:
    """None for an empty body. Raises MalformedBody (400, also `too_deep`), UnsupportedMediaType (415), TooLarge."""
    header = request.headers.get("content-type", "")
    kind = header.split(";")[0].strip().lower()
    if not body:
        return None
    if kind == FILES:
        raise UnsupportedMediaType("A callback takes no files.", hint="Send JSON, a form or a text, with links.")
    if kind == FORM and (body.lstrip()[:1] in (b"{", b"[", b'"') or b"=" not in body):
        return read_json(body, max_bytes=settings.MAX_BODY_BYTES)  # `curl -d` calls whatever it sends a form
    return bodies.read({"content-type": header}, body, max_bytes=settings.MAX_BODY_BYTES).value
