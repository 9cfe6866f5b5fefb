"""Tokens by OAuth 2 client credentials: one per connection and process, asked for by one thread at a time."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx2

from resources import oauth_kept, secrets
from resources.connection_settings import OAuth2Auth
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.http_client import Fetched, fetch, http_client
from resources.masking import Masker
from resources.stop import Stop

MAX_BYTES: Final = 64 * 1024
MAX_TOKEN: Final = 16 * 1024
#: a token whose life nobody tells is kept so long, and none longer than a day; seconds
UNKNOWN_LIFE, LONGEST_LIFE = 300.0, 86_400.0
_MAX_HELD: Final = 256


class TokenFailed(OrchestraError):
    """There is no token; the request itself was not sent. `again`: asking later can help."""

    code = "no_token"
    status = 502

    def __init__(self, message: str, *, again: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.again = again


@dataclass(frozen=True, slots=True)
class Held:
    """`until`: monotonic seconds; `mask`: what must be shown nowhere."""

    ref: ConnectionRef
    value: str
    until: float
    mask: tuple[str, ...]


_held: dict[int, Held] = {}
_asking: dict[int, threading.Lock] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    """Locks may be held by threads that a child does not have. Tokens it may go on using."""
    global _lock
    _lock = threading.Lock()
    _asking.clear()


os.register_at_fork(after_in_child=_after_fork)


def token(ref: ConnectionRef, auth: OAuth2Auth, *, timeout: float, stop: Stop | None = None) -> Held:
    """The token of this version of the connection: the one held, else a new one within `timeout` seconds.

    Threads that need one at the same time wait for the one that asks. Raises TokenFailed, NotFound (the secret).
    """
    end = time.monotonic() + timeout
    if (held := _fresh(ref)) is not None:
        return held
    with _lock:
        asking = _asking.setdefault(ref.id, threading.Lock())
    if not asking.acquire(timeout=max(0.0, timeout)):
        raise TokenFailed(f"No token for {ref.name}: the token address did not answer in time.", again=True)
    try:
        if (held := _fresh(ref)) is None:
            held = _ask(ref, auth, max(0.05, end - time.monotonic()), stop)
            _keep(held)
        return held
    finally:
        asking.release()


def forget(ref: ConnectionRef, refused: str) -> None:
    """The other side refused this token. One that came since stays."""
    with _lock:
        held = _held.get(ref.id)
        if held is not None and held.value == refused:
            del _held[ref.id]


def _fresh(ref: ConnectionRef) -> Held | None:
    with _lock:
        held = _held.get(ref.id)
    return held if held is not None and held.ref == ref and time.monotonic() < held.until else None


def _keep(held: Held) -> None:
    with _lock:
        while len(_held) >= _MAX_HELD:
            _held.pop(next(iter(_held)))
        _held[held.ref.id] = held


def _ask(ref: ConnectionRef, auth: OAuth2Auth, timeout: float, stop: Stop | None) -> Held:
    secret = secrets.reveal(auth.secret)
    request, pair = _request(auth, secret)
    masker = Masker((secret, *pair))
    start = time.monotonic()
    try:
        answer = fetch(http_client(ref), request, timeout=timeout, max_bytes=MAX_BYTES, stop=stop)
    except httpx2.TimeoutException as error:
        raise _failed(f"{_host(auth)} did not answer within {timeout:.1f} s", again=True) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = masker.text(str(error)) or type(error).__name__
        raise _failed(f"{_host(auth)} was not reached: {why}", again=True) from error
    except OrchestraError as error:
        raise _failed(masker.text(error.message), again=False, hint=error.hint) from error
    value, expires_in = _read(answer, auth, masker)
    oauth_kept.note(ref.id, value, expires_in)
    return Held(ref, value, start + usable_for(expires_in), (value, secret, *pair))


def _request(auth: OAuth2Auth, secret: str) -> tuple[httpx2.Request, tuple[str, ...]]:
    """The request for a token, and what of its credentials must be masked beside the secret."""
    form = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "Orchestra",
    }
    hidden: tuple[str, ...] = ()
    if auth.auth_style == "post":
        form |= {"client_id": auth.client_id, "client_secret": secret}
    else:  # RFC 6749, 2.3.1: both are form-encoded first
        pair = base64.b64encode(f"{quote(auth.client_id, safe='')}:{quote(secret, safe='')}".encode()).decode()
        headers["authorization"] = f"Basic {pair}"
        hidden = (pair,)
    content = urlencode({name: value for name, value in form.items() if value}).encode()
    return httpx2.Request("POST", auth.token_url, headers=headers, content=content), hidden


def _read(answer: Fetched, auth: OAuth2Auth, masker: Masker) -> tuple[str, Any]:
    """(token, seconds for which it is good, if the other side says it well). Raises TokenFailed."""
    found = _json(answer.body)
    if answer.status != 200:
        raise _refused(answer.status, found, auth, masker)
    value = found.get("access_token")
    if not isinstance(value, str) or not value or len(value) > MAX_TOKEN or not _carried(value):
        raise _failed(f"{_host(auth)} answered 200, but without a usable access_token", again=False)
    kind = found.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _failed(f"{_host(auth)} gave a token that is not of type bearer", again=False)
    return value, found.get("expires_in")


def usable_for(expires_in: Any) -> float:
    """Seconds for which a token is used: until shortly before it expires. Pure."""
    life = oauth_kept.life_of(expires_in, unknown=UNKNOWN_LIFE, longest=LONGEST_LIFE)
    return life - min(30.0, life / 10)


def _refused(status: int, found: Mapping[str, Any], auth: OAuth2Auth, masker: Masker) -> TokenFailed:
    said = [found[key] for key in ("error", "error_description") if isinstance(found.get(key), str)]
    why = f" ({masker.text(': '.join(said))[:300]})" if said else ""
    if status >= 500 or status == 429:
        return _failed(f"{_host(auth)} answered {status}{why}", again=True)
    hint = f"Look at the client ID, the secret {auth.secret} and the scope."
    return _failed(f"{_host(auth)} refused with {status}{why}", again=False, hint=hint)


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _carried(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _failed(why: str, *, again: bool, hint: str = "") -> TokenFailed:
    return TokenFailed(f"No token was given: {why.rstrip('.')}.", again=again, hint=hint)


def _host(auth: OAuth2Auth) -> str:
    return auth.token_url.split("/", 3)[2]
