"""HTTP through the guard: one client per connection and version in each process, and one bounded `fetch`."""

from __future__ import annotations

import functools
import os
import ssl
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore2
import httpx2

from resources import client_tls, network
from resources.connection_settings import HttpSettings
from resources.connections import ConnectionRef
from resources.errors import BadInput, TooLarge
from resources.stop import Stop

USER_AGENT = "Orchestra"
MAX_REDIRECTS = 5
_MAX_CLIENTS = 64
_LIMITS = httpx2.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=30.0)
#: what another host may see of a request that it was redirected to; the rest may be a credential
_SAFE_HEADERS = {"accept", "accept-encoding", "accept-language", "host", "user-agent"}


class ResponseTooLarge(TooLarge):
    """The body, as sent or after unpacking, has more bytes than allowed."""

    code = "response_too_large"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer. `headers` in order, names as sent; `body` unpacked; `url` after redirects; `seconds` in all.

    `kept`: what `keep` made of the body, which is empty then.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str
    seconds: float
    kept: Any = None

    def header(self, name: str, default: str = "") -> str:
        """The first header of this name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), default)


#: (status, headers by lower-case name, body) -> what it made of the body, or None and the body untouched
Keep = Callable[[int, Mapping[str, str], Iterator[bytes]], Any]


class GuardedTransport(httpx2.HTTPTransport):
    """The standard transport with our network backend; no proxy, nothing from the environment."""

    def __init__(self, allow_networks: tuple[network.Network, ...], tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False, limits=_LIMITS)
        # there is no public way to hand over a backend; tests/resources/test_outbound.py fails if this stops working
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls,
            max_connections=_LIMITS.max_connections,
            max_keepalive_connections=_LIMITS.max_keepalive_connections,
            keepalive_expiry=_LIMITS.keepalive_expiry,
            network_backend=network.GuardedBackend(allow_networks),
        )


@functools.cache
def _tls() -> ssl.SSLContext:
    """Public authorities, host names checked; made once a process, since it reads all their certificates."""
    return httpx2.create_ssl_context(trust_env=False)


def guarded_client(
    allow_networks: tuple[str, ...] = (), headers: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> httpx2.Client:
    """A client that reaches public addresses and `allow_networks` only, keeps no cookies and follows nothing itself."""
    return httpx2.Client(
        transport=GuardedTransport(network.networks(allow_networks), tls or _tls()),
        headers={"user-agent": USER_AGENT, "accept-encoding": "identity", **(headers or {})},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),  # one run's session is not the next one's
        follow_redirects=False,
        trust_env=False,
        timeout=None,  # fetch sets the deadline of each exchange
    )


#: connection id -> what it was with its key, its client, what closes the client once nobody holds it any more
_clients: dict[int, tuple[tuple[ConnectionRef, str], httpx2.Client, weakref.finalize[Any, Any]]] = {}
#: those that show a certificate
_identified: weakref.WeakSet[httpx2.Client] = weakref.WeakSet()
_inherited: list[httpx2.Client] = []
_lock = threading.Lock()


def _forget_clients() -> None:
    """A forked child shares its parent's sockets: it starts with no client, and closes none that is not its own."""
    global _lock
    _lock = threading.Lock()
    for _, client, closing in _clients.values():
        closing.detach()
        _inherited.append(client)
    _clients.clear()


os.register_at_fork(after_in_child=_forget_clients)


def settings_of(ref: ConnectionRef) -> HttpSettings:
    """What requests through it need. Raises BadInput for a connection of another kind."""
    if not isinstance(ref.settings, HttpSettings):
        raise BadInput(f"The connection {ref.name} is of kind {ref.kind} and sends no HTTP requests.")
    return ref.settings


def http_client(ref: ConnectionRef) -> httpx2.Client:
    """The process's client of this version of the connection: its networks, its headers, a pool of its own.

    Credentials are not in it but for the certificate that it shows, with its key of the moment; `http_auth.authorise`
    adds the secret's value of the moment to one request. Raises BadInput, and what secrets.reveal does.
    """
    settings = settings_of(ref)
    wanted = ref, client_tls.key_of(settings)
    with _lock:
        known, client, _ = _clients.get(ref.id, (None, None, None))
        # compared whole: a restored database may use an id and a version a second time for something else
        if client is None or known != wanted:
            tls = client_tls.context_of(settings, wanted[1])
            client = guarded_client(settings.allow_networks, dict(settings.headers), tls)
            if wanted[1]:
                _identified.add(client)
            _clients.pop(ref.id, None)
            while len(_clients) >= _MAX_CLIENTS:
                _clients.pop(next(iter(_clients)))  # another thread may be using it: closed when it is done
            _clients[ref.id] = (wanted, client, weakref.finalize(client, client._transport.close))
        return client


def fetch(
    client: httpx2.Client,
    request: httpx2.Request,
    *,
    timeout: float,
    max_bytes: int,
    stop: Stop | None = None,
    heard: Callable[[int, int | None], None] | None = None,
    keep: Keep | None = None,
) -> Fetched:
    """Send, follow at most 5 redirects of a GET or HEAD, read the whole body: all within `timeout` seconds.

    Other methods are not redirected: what was approved goes where it was approved to go, and the 3xx is the answer.
    `stop`: when it is asked for, the connection is closed and the exchange breaks. `heard`: is told the bytes of the
    body so far, and of all of it where the other side says. `keep`: may take the body, piece by piece, for itself.
    Raises httpx2.ConnectError, ConnectTimeout (nothing was sent), httpx2.TimeoutException and TransportError
    otherwise, httpx2.TooManyRedirects, network.AddressRefused, ResponseTooLarge.
    """
    start = time.monotonic()
    with network.total_time(timeout, stop):
        for _ in range(MAX_REDIRECTS + 1):
            left = network.time_left(timeout, httpx2.ReadTimeout)
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), left)
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                following = _redirect(request, response, at_home=client in _identified)
                if following is None:
                    chunks = _bounded(_unpacked(response, max_bytes), max_bytes)
                    chunks = chunks if heard is None else _told(chunks, response, heard)
                    headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in response.headers.raw)
                    kept = keep(response.status_code, dict(response.headers), chunks) if keep is not None else None
                    body = b"".join(chunks) if kept is None else b""
                    spent = time.monotonic() - start
                    return Fetched(response.status_code, headers, body, str(response.url), spent, kept)
            finally:
                response.close()
            request = following
    raise httpx2.TooManyRedirects(f"More than {MAX_REDIRECTS} redirects.", request=request)


def _redirect(request: httpx2.Request, response: httpx2.Response, *, at_home: bool) -> httpx2.Request | None:
    """The request to send next, without credentials if it goes to another origin; None: this is the answer.

    `at_home`: none goes to another origin, which could ask for the certificate.
    """
    following = response.next_request
    if following is None or request.method not in ("GET", "HEAD"):
        return None
    if following.url.origin != request.url.origin:
        if at_home:
            return None
        for name in [name for name in following.headers if name.lower() not in _SAFE_HEADERS]:
            del following.headers[name]
    return following


def _bounded(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > max_bytes:
            raise ResponseTooLarge(f"The answer has more than {max_bytes} bytes.", hint="Ask for less at once.")
        yield chunk


def _told(
    chunks: Iterator[bytes], response: httpx2.Response, heard: Callable[[int, int | None], None]
) -> Iterator[bytes]:
    length = response.headers.get("content-length", "")
    whole = int(length) if length.isascii() and length.isdigit() and len(length) < 16 else None
    total = 0
    for chunk in chunks:
        total += len(chunk)
        heard(total, whole)
        yield chunk


def _unpacked(response: httpx2.Response, max_bytes: int) -> Iterator[bytes]:
    """The body's chunks. We ask for no compression; from servers that compress all the same, gzip and deflate."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("gzip", "x-gzip", "deflate"):
        yield from response.iter_raw()
        return
    unpack: Any = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by its header
    came = False
    for chunk in response.iter_raw():
        came = came or bool(chunk)
        try:
            yield unpack.decompress(chunk, max_bytes + 1)  # capped, or a kilobyte could become a gigabyte
        except zlib.error as error:
            raise httpx2.DecodingError(f"The body is not {encoding}: {error}.", request=response.request) from error
    if came and not unpack.eof:  # cut off on the way: half a text must not pass for the whole
        raise httpx2.DecodingError(f"The body ends in the middle of its {encoding}.", request=response.request)
