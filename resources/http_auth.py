"""Credentials of one request through an http connection: a header, a signature, or a token asked for beforehand."""

from __future__ import annotations

import base64
import hmac
import time

import httpx2

from resources import oauth, secrets
from resources.connection_settings import ApiKeyAuth, BasicAuth, BearerAuth, HmacAuth, NoAuth, OAuth2Auth
from resources.connections import ConnectionRef
from resources.errors import BadInput
from resources.http_client import Fetched, fetch, settings_of
from resources.masking import Masker
from resources.stop import Stop

#: seconds that asking for a token may take where the caller gives no bound
TOKEN_SECONDS = 10.0
#: bytes of a body that are signed at most, since they are read into memory
MAX_SIGNED = 16 * 1024 * 1024


def authorise(
    ref: ConnectionRef, request: httpx2.Request, *, timeout: float = TOKEN_SECONDS, stop: Stop | None = None
) -> list[str]:
    """Add the connection's credentials to `request`; returns the secret values in it, to be masked everywhere.

    `timeout`: seconds that asking for a token may take; nothing else does I/O but reading the secret. Raises NotFound
    when the secret is gone, BadInput when no header can carry it, oauth.TokenFailed when there is no token.
    """
    match settings_of(ref).auth:
        case NoAuth():
            return []
        case BearerAuth(secret=name):
            value = secrets.reveal(name)
            request.headers["authorization"] = f"Bearer {_header_safe(name, value)}"
            return [value]
        case BasicAuth() as auth:
            value = secrets.reveal(auth.secret)
            pair = base64.b64encode(f"{auth.username}:{value}".encode()).decode()
            request.headers["authorization"] = f"Basic {pair}"
            return [value, pair]
        case ApiKeyAuth() as auth:
            value = secrets.reveal(auth.secret)
            request.headers[auth.header] = _header_safe(auth.secret, value)
            return [value]
        case HmacAuth() as auth:
            value = secrets.reveal(auth.secret)
            for name, text in signature(auth, value.encode(), request, int(time.time())).items():
                request.headers[name] = text
            return [value]
        case OAuth2Auth() as auth:
            held = oauth.token(ref, auth, timeout=timeout, stop=stop)
            request.headers["authorization"] = f"Bearer {held.value}"
            return list(held.mask)


def signature(auth: HmacAuth, secret: bytes, request: httpx2.Request, now: int) -> dict[str, str]:
    """The headers that sign `request` at `now` (epoch seconds). Raises BadInput for a body too long to be signed."""
    stamp, body = str(now).encode(), _whole(request)
    signed = {
        "body": body,
        "timestamp_body": stamp + b"." + body,
        "request": b"\n".join((request.method.encode(), request.url.raw_path, stamp, body)),
    }[auth.signs]
    digest = hmac.digest(secret, signed, auth.algorithm)
    text = digest.hex() if auth.encoding == "hex" else base64.b64encode(digest).decode()
    stamped = {} if auth.signs == "body" else {auth.timestamp_header: stamp.decode()}
    return {auth.header: auth.prefix + text, **stamped}


def _whole(request: httpx2.Request) -> bytes:
    """Its body, read where it would be streamed. Raises BadInput for one that is too long to be read."""
    try:
        return request.content
    except httpx2.RequestNotRead:
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_SIGNED:
            raise BadInput(f"A body of more than {MAX_SIGNED} bytes cannot be signed.", hint="Send less.") from None
        return request.read()


def exchange(
    ref: ConnectionRef,
    client: httpx2.Client,
    request: httpx2.Request,
    *,
    timeout: float,
    max_bytes: int,
    masker: Masker,
) -> Fetched:
    """`request` with its credentials, once more with a new token where the first was refused; all within `timeout`
    seconds. For requests without a body. Raises as `authorise` and `fetch`."""
    end = time.monotonic() + timeout
    for again in (False, True):
        for value in authorise(ref, request, timeout=max(0.1, end - time.monotonic())):
            masker.add(value)
        answer = fetch(client, request, timeout=max(0.1, end - time.monotonic()), max_bytes=max_bytes)
        if again or answer.status != 401 or not refused(ref, request):
            break
    return answer


def refused(ref: ConnectionRef, request: httpx2.Request) -> bool:
    """The other side answered 401: a token is forgotten, and True says that another may help."""
    if not isinstance(settings_of(ref).auth, OAuth2Auth):
        return False
    oauth.forget(ref, request.headers.get("authorization", "").removeprefix("Bearer "))
    return True


def _header_safe(name: str, value: str) -> str:
    """Refused here, since the HTTP library would quote the whole value in its own error."""
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise BadInput(f"The secret {name} has characters that no header can carry.", hint="Set it again, in one line.")
    return value
