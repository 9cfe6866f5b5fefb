"""Chat and push services through apprise: an allow-list of services, and every connection they make is guarded.

Apprise's services speak HTTP by `requests`. Within a guarded call each connection is made here, to a checked address;
redirects are not followed, answers are bounded, and neither proxies nor .netrc of the machine are read. A service that
reaches the outside in any other way is refused.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import httpcore2
from django.conf import settings as django_settings

from resources import secrets
from resources.connections import ConnectionRef
from resources.databases.reach import TooSlow, bounded
from resources.errors import OrchestraError
from resources.kinds.notify import AppriseSettings
from resources.network import GuardedBackend, networks, total_time
from resources.not_sent import NotSent
from resources.stop import Stop

MAX_ANSWER: Final = 256 * 1024
_STATUS = re.compile(r"error=(\d{3})")
#: of a service's address: parts this long are taken for credentials and masked
_SECRET_PART = 6
#: what a module of apprise must not use, since nothing of it goes through the guard
_UNGUARDED = ("socket", "subprocess", "smtplib", "asyncio", "paho", "dbus")


class _Guard:
    """Makes the connections of one call; `close` ends them, and nothing is connected afterwards."""

    def __init__(self, settings: AppriseSettings) -> None:
        self.backend = GuardedBackend(networks(settings.allow_networks))
        self.refused = ""
        self.connected = False
        self.closed = False
        self.lines: list[str] = []
        self._twins: list[socket.socket] = []

    def connect(self, host: str, port: int, timeout: float | None) -> socket.socket:
        if self.closed:
            raise OSError("The time is up.")
        try:
            stream = self.backend.connect_tcp(host, port, timeout)
        except OrchestraError as error:
            self.refused = f"{error.message} {error.hint}".strip()
            raise OSError(self.refused) from error
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
            self.lines.append(f"{host}:{port} could not be reached: {error}")
            raise OSError(str(error)) from error
        sock = cast(socket.socket, stream.get_extra_info("socket"))
        sock.settimeout(timeout)
        self.connected = True
        self._twins.append(sock.dup())
        return sock

    def close(self) -> None:
        self.closed = True
        for twin in self._twins:
            try:
                twin.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.lines.append("closed already")
            twin.close()
        self._twins.clear()


_guard: ContextVar[_Guard | None] = ContextVar("apprise_guard", default=None)


@cache
def _install() -> Any:
    """Apprise, its connections led through the guard where there is one: all else in the process is as it was."""
    import requests
    import requests.sessions
    import urllib3.util.connection as made

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of modules that its services import
        import apprise
        from apprise.manager_plugins import NotificationManager

        NotificationManager().load_modules()  # type: ignore[no-untyped-call]

    plain_connect, plain_send = made.create_connection, requests.Session.send

    def connect(address: Any, timeout: Any = None, *rest: Any, **more: Any) -> Any:
        guard = _guard.get()
        if guard is None:
            return plain_connect(address, timeout, *rest, **more)
        return guard.connect(address[0], address[1], timeout if isinstance(timeout, int | float) else None)

    def send(self: Any, request: Any, **more: Any) -> Any:
        if _guard.get() is None:
            return plain_send(self, request, **more)
        return _bounded_answer(plain_send(self, request, **{**more, "stream": True, "allow_redirects": False}))

    made.create_connection = connect
    requests.Session.send = send  # type: ignore[method-assign]
    _unless_guarded(requests.sessions, "get_environ_proxies", {})
    _unless_guarded(requests.sessions, "get_netrc_auth", None)
    return apprise


def _listen() -> None:
    """Hear what it logs, which is all it says of an answer. Each time: setting up logging anew takes handlers away."""
    log = logging.getLogger("apprise")
    log.propagate = False  # its lines name credentials
    if not any(isinstance(handler, _Lines) for handler in log.handlers):
        log.addHandler(_Lines())


def _unless_guarded(module: Any, name: str, instead: object) -> None:
    plain = getattr(module, name)
    setattr(module, name, lambda *a, **k: plain(*a, **k) if _guard.get() is None else instead)


def _bounded_answer(response: Any) -> Any:
    import requests

    body = response.raw.read(MAX_ANSWER + 1, decode_content=True)
    if len(body) > MAX_ANSWER:
        response.close()
        raise requests.RequestException(f"an answer of more than {MAX_ANSWER} bytes")
    response._content, response._content_consumed = body, True
    response.close()
    return response


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        guard = _guard.get()
        if guard is not None and record.levelno >= logging.WARNING and len(guard.lines) < 20:
            guard.lines.append(" ".join(record.getMessage().split())[:300])


def address_of(ref: ConnectionRef) -> str:
    """The Apprise address, a secret. Raises NotFound, crypto.CannotDecrypt."""
    settings = ref.settings
    assert isinstance(settings, AppriseSettings)  # noqa: S101  its kind says so
    return secrets.reveal(settings.url).strip()


def secrets_in(address: str) -> Iterator[str]:
    """What of an address must be masked: it, and each part of it that may be a credential."""
    yield address
    parts = urlsplit(address)
    found = [parts.username, parts.password, *parts.path.split("/"), *re.split(r"[&=]", parts.query)]
    if parts.hostname and "." not in parts.hostname and parts.hostname != "localhost":
        found.append(parts.netloc.rpartition("@")[2].partition(":")[0])
    for part in found:
        if part and len(part) >= _SECRET_PART:
            yield part
            yield unquote(part)


def service_of(address: str) -> Any:
    """The service behind an address. Raises NotSent: no address, a service that is not allowed, or not guarded."""
    schema, colon, _ = address.partition("://")
    schema = schema.lower()
    if not colon or not schema.isalnum() or "\n" in address:
        raise NotSent("refused", "The secret does not hold one Apprise address, such as slack://… or ntfys://….")
    if schema not in django_settings.NOTIFY_SERVICES:
        raise NotSent("refused", f"Messages to {schema}:// are not allowed here; see NOTIFY_SERVICES.")
    apprise = _install()
    _listen()
    asset = apprise.AppriseAsset(async_mode=False, plugin_paths=[], app_id="Orchestra", app_desc="Orchestra")
    service = apprise.Apprise.instantiate(address, asset=asset)
    if service is None:
        raise NotSent("refused", f"The address in the secret is not a whole address of {schema}://.")
    module = sys.modules[type(service).__module__]
    if not hasattr(module, "requests") or any(hasattr(module, name) for name in _UNGUARDED):
        raise NotSent("refused", f"Messages to {schema}:// cannot be guarded, so they are refused.")
    return service


def send(
    address: str, settings: AppriseSettings, title: str, text: str, *, key: str, seconds: float, stop: Stop | None
) -> None:
    """One message. Raises NotSent."""
    service, guard = service_of(address), _Guard(settings)
    service.socket_read_timeout = service.socket_connect_timeout = max(0.1, seconds)
    if isinstance(getattr(service, "headers", None), dict):
        service.headers.setdefault("Idempotency-Key", key)

    def call() -> bool:
        with _guarded(guard, seconds):
            return bool(service.notify(body=text, title=title, body_format="markdown"))

    try:
        done = bounded(call, lambda _: None, seconds, stop)
    except TooSlow as error:
        said = "whether it was sent is unknown" if guard.connected else "nothing was sent"
        raise NotSent(
            "timeout", f"No answer within {seconds:.0f} s: {said}.", again=True, unknown=guard.connected
        ) from error
    finally:
        guard.close()
    if not done:
        raise _why(guard)


@contextmanager
def _guarded(guard: _Guard, seconds: float) -> Iterator[None]:
    token = _guard.set(guard)
    try:
        with total_time(seconds):
            yield
    finally:
        _guard.reset(token)


def _why(guard: _Guard) -> NotSent:
    said = " ".join(guard.lines)[:500] or "The service did not take it and did not say why."
    if guard.refused:
        return NotSent("refused", guard.refused)
    if not guard.connected:
        again = bool(guard.lines)
        return NotSent("connect" if again else "refused", said, again=again)
    found = _STATUS.search(said)
    if found is None:
        return NotSent("network", f"{said} Whether it was sent is unknown.", again=True, unknown=True)
    status = int(found[1])
    cls = "http_429" if status == 429 else "http_5xx" if status >= 500 else "http_4xx"
    return NotSent(cls, said, again=cls != "http_4xx")
