"""The guard of every outbound connection: only public addresses, unless an admin allowed a network.

The check is made on the address we connect to, after the one resolution there is, so that neither a name that
resolves differently the second time nor a strange spelling of 127.0.0.1 gets past it. All I/O also obeys a total
deadline: a per-read timeout alone lets a body that drips take for ever.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import httpcore2

from resources.errors import OrchestraError
from resources.stop import Stop

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_WRITE_CHUNK = 64 * 1024
#: monotonic seconds at which the exchange must be over; set by `total_time`
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
#: who may ask the exchange to stop; set by `total_time`
_stop: ContextVar[Stop | None] = ContextVar("stop", default=None)


class AddressRefused(OrchestraError):
    """The other side's address is not public, and no admin allowed it. Nothing was sent."""

    code = "address_refused"
    status = 403


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def _inner(ip: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does: that is where packets end up."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped:
        return ip.ipv4_mapped
    if ip.sixtofour:
        return ip.sixtofour
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def check_address(ip: Address, allow_networks: Sequence[Network] = ()) -> str | None:
    """Why `ip` may not be connected to; None: it may. Pure."""
    inner = _inner(ip)
    if any(ip in network or inner in network for network in allow_networks):
        return None
    for name, wrong in (
        ("unspecified", inner.is_unspecified),
        ("loopback", inner.is_loopback),
        ("link-local", inner.is_link_local),
        ("multicast", inner.is_multicast),
        ("site-local", isinstance(inner, ipaddress.IPv6Address) and inner.is_site_local),  # not among the private ones
        ("private", inner.is_private),
        ("reserved", inner.is_reserved),
        ("not public", not inner.is_global),
    ):
        if wrong:
            return name
    return None


def check_all(host: str, addresses: Iterable[Address], allow_networks: Sequence[Network]) -> None:
    """Raises AddressRefused when any address of `host` may not be connected to."""
    for ip in addresses:
        reason = check_address(ip, allow_networks)
        if reason:
            raise _refused(host, ip, reason)


@contextlib.contextmanager
def total_time(seconds: float, stop: Stop | None = None) -> Iterator[float]:
    """All guarded I/O of this thread in the block together takes at most `seconds`, and ends when `stop` is asked for:
    the connection is closed, and what waits on it fails. Yields the monotonic deadline."""
    end = time.monotonic() + seconds
    token, stopping = _deadline.set(end), _stop.set(stop)
    try:
        yield end
    finally:
        _deadline.reset(token)
        _stop.reset(stopping)


@contextlib.contextmanager
def _stoppable(end: Callable[[], None], error: type[Exception]) -> Iterator[None]:
    """The body ends early, by `end`, when this exchange is asked to stop. Raises `error` where it was already."""
    stop = _stop.get()
    if stop is None:
        yield
        return
    if stop.is_set():
        raise error("Asked to stop.")
    with stop.on_stop(end):
        yield


def time_left(timeout: float | None, error: type[Exception]) -> float | None:
    """The smaller of `timeout` and what the deadline leaves, in seconds; raises `error` when nothing is left."""
    end = _deadline.get()
    if end is None:
        return timeout
    left = end - time.monotonic()
    if left <= 0:
        raise error("The total time is up.")
    return left if timeout is None else min(left, timeout)


def look_up(host: str, port: int, timeout: float | None = None) -> list[Address]:
    """All addresses of `host`, from one resolution. Raises httpcore2.ConnectError, ConnectTimeout."""
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:  # the resolver takes no timeout, so it gets a thread that nobody waits for
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True, name="resolver").start()
    try:
        with _stoppable(lambda: answers.put(OSError("asked to stop")), httpcore2.ConnectError):
            found = answers.get(timeout=timeout)
    except queue.Empty:
        raise httpcore2.ConnectTimeout(f"Looking up {host} took too long.") from None
    if isinstance(found, Exception):
        raise httpcore2.ConnectError(f"The host {host} cannot be found: {found}.") from found
    return list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))


class GuardedStream(httpcore2.NetworkStream):
    """A stream whose every read and write ends at the deadline."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _stoppable(self._hang_up, httpcore2.ReadError):
            return self._inner.read(max_bytes, time_left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _stoppable(self._hang_up, httpcore2.WriteError):
            for start in range(0, len(buffer), _WRITE_CHUNK):
                self._inner.write(buffer[start : start + _WRITE_CHUNK], time_left(timeout, httpcore2.WriteTimeout))

    def _hang_up(self) -> None:
        """Wakes the thread that blocks on the socket; it closes the stream. Of TLS, too, only the socket beneath."""
        sock = self._inner.get_extra_info("socket")
        if sock is not None:
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = time_left(timeout, httpcore2.ConnectTimeout)
        return GuardedStream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class GuardedBackend(httpcore2.NetworkBackend):
    """Resolves once, refuses the host if any of its addresses is refused, connects to a checked address."""

    def __init__(self, allow_networks: Sequence[Network] = ()) -> None:
        self._allow = tuple(allow_networks)
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = look_up(host, port, time_left(timeout, httpcore2.ConnectTimeout))
        check_all(host, addresses, self._allow)
        error: Exception = httpcore2.ConnectError(f"The host {host} has no address.")
        for ip in addresses:
            try:
                left = time_left(timeout, httpcore2.ConnectTimeout)
                return GuardedStream(self._connect(str(ip), port, left, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as failed:
                error = failed
        raise error

    def _connect(self, ip: str, port: int, timeout: float | None, *rest: Any) -> httpcore2.NetworkStream:
        if _stop.get() is None:
            return self._plain.connect_tcp(ip, port, timeout, *rest)
        answers: queue.Queue[Any] = queue.Queue()
        given_up = threading.Event()

        def connect() -> None:  # connecting cannot be woken, so it gets a thread that nobody need wait for
            try:
                stream = self._plain.connect_tcp(ip, port, timeout, *rest)
            except Exception as error:  # noqa: BLE001  handed to whoever waits, which raises it
                answers.put(error)
                return
            answers.put(stream)
            if given_up.is_set():
                stream.close()

        with _stoppable(lambda: answers.put(httpcore2.ConnectError("Asked to stop.")), httpcore2.ConnectError):
            threading.Thread(target=connect, daemon=True, name="connecting").start()
            found = answers.get()
        if isinstance(found, Exception):
            given_up.set()
            while not answers.empty():  # it came through at that very moment
                late = answers.get()
                if isinstance(late, httpcore2.NetworkStream):
                    late.close()
            raise found
        return found  # type: ignore[no-any-return]

    def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        raise AddressRefused("Sockets of this machine cannot be reached.")


def _refused(host: str, ip: Address, reason: str) -> AddressRefused:
    return AddressRefused(
        f"The address {ip} of {host} is {reason}, and such addresses are refused.",
        hint="If this is meant, an admin can allow its network on the connection.",
        details={"host": host, "address": str(ip), "reason": reason},
    )
