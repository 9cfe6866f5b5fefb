"""The guard at work: against real sockets, redirects, names that change their mind, bodies that drip or swell."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from resources import http_client, network
from resources.connection_settings import HttpSettings
from resources.connections import ConnectionRef
from resources.http_client import Fetched, ResponseTooLarge, fetch, guarded_client
from tests.resources.server import plain, serve

LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def open_client() -> Iterator[httpx2.Client]:
    with guarded_client(LOOPBACK) as client:
        yield client


def get(client: httpx2.Client, url: str, *, timeout: float = 5, max_bytes: int = 10_000, **kwargs: Any) -> Fetched:
    method = kwargs.pop("method", "GET")
    return fetch(client, client.build_request(method, url, **kwargs), timeout=timeout, max_bytes=max_bytes)


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names ending in .test resolve to the next answer each time they are asked for; returns what was asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def fake(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".test"):
            return real(host, port, *args, **kwargs)
        asked.append(str(host))
        found = answers[min(len(asked), len(answers)) - 1]
        kind = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kind[":" in ip], socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return asked


HOSTS = [
    *("127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1"),
    *("[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),  # dialled, not bound
]


@pytest.mark.parametrize("host", HOSTS)
def test_no_spelling_of_this_machine_is_reached(host: str) -> None:
    with serve({"/": plain(200)}) as server, guarded_client() as client:
        with pytest.raises((network.AddressRefused, httpx2.ConnectError, httpx2.InvalidURL)):
            get(client, server.url(host=host))
        assert server.seen == []


def test_an_allowed_network_is_reached(open_client: httpx2.Client) -> None:
    with serve({"/": plain(200, b"hello", X_One="1")}) as server:
        answer = get(open_client, server.url())
    assert (answer.status, answer.body, answer.header("x-one")) == (200, b"hello", "1")


def test_a_name_is_refused_when_any_of_its_addresses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with guarded_client() as client, pytest.raises(network.AddressRefused) as caught:
        get(client, "http://mixed.test/")
    assert caught.value.details == {"host": "mixed.test", "address": "10.0.0.1", "reason": "private"}


def test_a_name_that_resolves_differently_the_second_time_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    with serve({"/": plain(200)}) as server, guarded_client(("127.0.0.2/32",)) as client:
        with pytest.raises(httpx2.ConnectError):  # the checked address is used: nobody listens there
            get(client, server.url(host="rebind.test"))
        assert (asked, server.seen) == (["rebind.test"], [])
        with pytest.raises(network.AddressRefused):
            get(client, server.url(host="rebind.test"))
        assert server.seen == []


@pytest.mark.parametrize("host", ["127.0.0.3", "[::ffff:127.0.0.3]", "localhost6.test"])
def test_a_redirect_to_an_address_nobody_allowed_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["10.0.0.1"])
    with serve({"/": plain(200)}) as inner, serve({"/": plain(302, Location=inner.url(host=host))}) as outer:
        with guarded_client(("127.0.0.1/32",)) as client, pytest.raises(network.AddressRefused):
            get(client, outer.url())
        assert (len(outer.seen), inner.seen) == (1, [])


def test_redirects_end_after_five(open_client: httpx2.Client) -> None:
    with serve({"/": plain(302, Location="/")}) as server:
        with pytest.raises(httpx2.TooManyRedirects):
            get(open_client, server.url())
        assert len(server.seen) == 6


def test_a_post_is_never_redirected(open_client: httpx2.Client) -> None:
    with serve({"/": plain(307, Location="/other"), "/other": plain(200)}) as server:
        assert get(open_client, server.url(), method="POST", content=b"x").status == 307
        assert [path for _, path, _ in server.seen] == ["/"]


def test_another_origin_sees_no_credentials(open_client: httpx2.Client) -> None:
    with serve({"/": plain(200)}) as other, serve({"/": plain(302, Location=other.url())}) as first:
        get(open_client, first.url(), headers={"X-Api-Key": "k", "Authorization": "Bearer t", "Idempotency-Key": "i"})
        assert first.seen[0][2]["x-api-key"] == "k"
        assert not {"x-api-key", "authorization", "idempotency-key"} & set(other.seen[0][2])


def test_only_http_is_followed(open_client: httpx2.Client) -> None:
    with serve({"/": plain(302, Location="file:///etc/passwd")}) as server, pytest.raises(httpx2.HTTPError):
        get(open_client, server.url())


def test_cookies_of_one_answer_do_not_come_back(open_client: httpx2.Client) -> None:
    with serve({"/": plain(200, Set_Cookie="session=1")}) as server:
        for _ in range(2):
            get(open_client, server.url())
        assert all("cookie" not in headers for _, _, headers in server.seen)


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({"/": plain(200)}) as proxy, serve({"/": plain(200, b"direct")}) as server:
        monkeypatch.setenv("http_proxy", proxy.url())
        monkeypatch.setenv("no_proxy", "")
        with guarded_client(LOOPBACK) as client:
            assert get(client, server.url()).body == b"direct"
        assert proxy.seen == []


def drip(head: bytes, stop: threading.Event) -> Any:
    """One byte each 50 ms: every read succeeds, and it never ends."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        while not stop.wait(0.05):
            handler.wfile.write(b"a")

    return answer


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: "],
    ids=["body", "headers"],
)
def test_what_drips_ends_at_the_deadline(open_client: httpx2.Client, head: bytes) -> None:
    stop = threading.Event()
    with serve({"/": drip(head, stop)}) as server:
        start = time.monotonic()
        try:
            with pytest.raises(httpx2.TimeoutException):  # without the deadline it drips for ever
                get(open_client, server.url(), timeout=0.4)
            assert time.monotonic() - start > 0.3
        finally:
            stop.set()


def test_a_resolver_that_hangs_ends_at_the_deadline(
    open_client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: release.wait(30) and [])
    with pytest.raises(httpx2.ConnectTimeout):
        get(open_client, "http://slow.test/", timeout=0.2)
    release.set()


@pytest.mark.parametrize("url", ["http://nowhere.invalid/", "http://a..b/"])
def test_a_name_that_cannot_be_found_is_a_connect_error(open_client: httpx2.Client, url: str, monkeypatch: Any) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(httpx2.ConnectError):
        get(open_client, url)


@pytest.mark.parametrize(("size", "fits"), [(10_000, True), (10_001, False)])
def test_answers_are_bounded(open_client: httpx2.Client, size: int, fits: bool) -> None:
    with serve({"/": plain(200, b"x" * size)}) as server:
        if fits:
            assert len(get(open_client, server.url()).body) == size
        else:
            with pytest.raises(ResponseTooLarge):
                get(open_client, server.url())


def test_a_compressed_answer_is_unpacked_and_a_bomb_is_not(open_client: httpx2.Client) -> None:
    answers = {
        "/gzip": plain(200, gzip.compress(b"hello"), Content_Encoding="gzip"),
        "/deflate": plain(200, zlib.compress(b"hello"), Content_Encoding="deflate"),
        "/bomb": plain(200, gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"),
        "/lie": plain(200, b"not packed", Content_Encoding="gzip"),
    }
    with serve(answers) as server:
        assert get(open_client, server.url("/gzip")).body == b"hello"
        assert get(open_client, server.url("/deflate")).body == b"hello"
        tracemalloc.start()
        with pytest.raises(ResponseTooLarge):
            get(open_client, server.url("/bomb"), max_bytes=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5_000_000, "unpacked only as far as allowed"
        with pytest.raises(httpx2.DecodingError):
            get(open_client, server.url("/lie"))


def certificate(folder: Path, host: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / f"{host}.pem"
    file.write_bytes(private + made.public_bytes(pem))
    return file


def test_tls_names_and_checks_the_host_though_an_address_is_dialled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, "good.test")
    asked_names: list[Any] = []
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(file)
    server_side.sni_callback = lambda sock, name, context: asked_names.append(name)
    resolving(monkeypatch, ["127.0.0.1"])
    trust = ssl.create_default_context(cafile=str(file))
    with serve({"/": plain(200, b"safe")}, tls=server_side) as server, guarded_client(LOOPBACK, tls=trust) as client:
        assert get(client, f"https://good.test:{server.port}/").body == b"safe"
        assert asked_names == ["good.test"]
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            get(client, f"https://evil.test:{server.port}/")


def ref(version: int = 1, **settings: Any) -> ConnectionRef:
    return ConnectionRef(7, "ci", "http", version, HttpSettings(base_url="http://ci.test", **settings))


def test_a_process_keeps_one_client_per_connection_and_version() -> None:
    first = http_client.http_client(ref())
    assert http_client.http_client(ref()) is first
    second = http_client.http_client(ref(version=2, headers={"X-Team": "a"}))
    assert second is not first
    assert second.headers["x-team"] == "a"
    assert http_client.http_client(ref(version=2)) is not second, "same id and version, other settings"


def test_a_forked_child_opens_connections_of_its_own() -> None:
    with serve({"/": plain(200)}) as server:
        here = ref(allow_networks=LOOPBACK)
        get(http_client.http_client(here), server.url())
        child = os.fork()
        if child == 0:
            fresh = not http_client._clients
            os._exit(0 if fresh and get(http_client.http_client(here), server.url()).status == 200 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert get(http_client.http_client(here), server.url()).status == 200
        assert len(set(server.peers)) == 2, "the parent's connection was used on, the child's is another"


def test_the_guard_is_what_the_transport_uses() -> None:
    with guarded_client() as client:
        backend = client._transport._pool._network_backend  # type: ignore[attr-defined]
        assert isinstance(backend, network.GuardedBackend)
        with pytest.raises(network.AddressRefused):
            backend.connect_unix_socket(os.devnull)
