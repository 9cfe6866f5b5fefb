"""Trying a connection from its page: each kind says how; of http it is one GET of its address, with its credentials."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httpx2
from django.db import transaction

from resources import audit, connections, health, http_auth, http_client, kinds
from resources.access import Actor, require
from resources.errors import OrchestraError
from resources.masking import Masker
from resources.models import Role

_SECONDS = 5.0
_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Tested:
    """`message`: one sentence that says what happened and, if it failed, what to look at."""

    ok: bool
    message: str


def test_connection(*, actor: Actor, name: str) -> Tested:
    """Try it as its kind does, changing nothing, for a few seconds at most. Admins only, as it sends the secret.

    Raises NotAllowed, NotFound.
    """
    require(actor, Role.ADMIN)
    ref = connections.resolve(name)
    probe = cast(Callable[[connections.ConnectionRef], Tested], kinds.load(kinds.KINDS[ref.kind].probe))
    result = probe(ref)
    with transaction.atomic():
        health.note_test(ref.id, time.time(), ok=result.ok, message=result.message)
        data = {"ok": result.ok, "message": result.message, "version": ref.version}
        audit.record(actor=actor, action="connection.tested", object_type="connection", object_id=name, data=data)
    return result


def http(ref: connections.ConnectionRef) -> Tested:
    """GET the connection's address, at most 5 seconds."""
    url, masker = http_client.settings_of(ref).base_url, Masker()
    start = time.monotonic()
    try:
        client = http_client.http_client(ref)
        request = client.build_request("GET", url)
        answer = http_auth.exchange(ref, client, request, timeout=_SECONDS, max_bytes=_MAX_BYTES, masker=masker)
    except OrchestraError as error:
        return Tested(False, masker.text(f"{error.message} {error.hint}".strip()))
    except httpx2.TimeoutException:
        return Tested(False, f"No answer from {url} within {time.monotonic() - start:.1f} s.")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return Tested(False, masker.text(f"{url} was not reached: {str(error) or type(error).__name__}"))
    return _judge(answer)


def _judge(answer: http_client.Fetched) -> Tested:
    shown = f"{answer.status} in {answer.seconds * 1000:.0f} ms"
    if answer.status in (401, 403):
        return Tested(False, f"Answered {shown}: it is reached, but the credentials are refused. Look at the secret.")
    if answer.status >= 500:
        return Tested(False, f"Answered {shown}: it is reached, but has a fault of its own.")
    if answer.status in (404, 405):
        return Tested(
            True, f"Answered {shown}: it is reached. It serves nothing at this very address, which may be right."
        )
    if 300 <= answer.status < 400:
        where = json.dumps(answer.header("location"))
        return Tested(True, f"Answered {shown}: it is reached and redirects to {where}.")
    return Tested(answer.status < 400, f"Answered {shown}.")
