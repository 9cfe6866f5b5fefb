"""http against peers that mean ill: each ends in time, with a class and a sentence, and with nothing kept."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from resources.access import Actor
from resources.connections import create_connection
from resources.models import Artifact
from tests.families.attempt import attempt, error

Peer = Callable[[socket.socket, threading.Event], None]
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
DEEP = OK + b"content-type: application/json\r\ncontent-length: 200000\r\n\r\n" + b"[" * 100_000 + b"]" * 100_000


def says(*pieces: bytes, pause: float = 0.0) -> Peer:
    def talk(client: socket.socket, over: threading.Event) -> None:
        for piece in pieces:
            client.sendall(piece)
            if pause and over.wait(pause):
                return

    return talk


def redirects(where: bytes) -> Peer:
    return says(b"HTTP/1.1 302 Found\r\nlocation: " + where + b"\r\ncontent-length: 0\r\n\r\n")


def silent(client: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def forever(head: bytes, piece: bytes, pause: float = 0.0) -> Peer:
    def talk(client: socket.socket, over: threading.Event) -> None:
        client.sendall(head)
        while not over.wait(pause):
            client.sendall(piece)

    return talk


def _bomb() -> bytes:
    body = gzip.compress(b"0" * 50_000_000)
    return OK + f"content-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _cut_gzip() -> bytes:
    """Half of a text, in an answer whose own length is right."""
    body = gzip.compress(b" ".join(b"%d" % number for number in range(10_000)))
    half = body[: len(body) // 2]
    return OK + f"content-encoding: gzip\r\ncontent-length: {len(half)}\r\n\r\n".encode() + half


PEERS: dict[str, tuple[Peer, str]] = {
    "an endless body": (forever(OK + b"\r\n", b"x" * 65536), "limit"),
    "an endless body in chunks": (forever(CHUNKED, b"ffff\r\n" + b"x" * 65535 + b"\r\n"), "limit"),
    "a body that drips": (forever(OK + b"content-length: 100\r\n\r\n", b"x", 0.05), "timeout"),
    "headers that drip": (forever(OK, b"x-a: b\r\n", 0.05), "timeout"),
    "headers without an end": (forever(OK, b"x-a: " + b"b" * 60_000 + b"\r\n"), "network"),
    "one endless header": (forever(OK + b"x-a: ", b"b" * 60_000), "network"),
    "nothing at all": (silent, "timeout"),
    "a hang-up": (says(), "network"),
    "half an answer": (says(OK + b"content-length: 100\r\n\r\nhalf"), "network"),
    "something else than HTTP": (says(b"220 smtp.example.com ESMTP\r\n"), "network"),
    "zeros": (forever(b"", b"\0" * 65536), "network"),
    "a length below nothing": (says(OK + b"content-length: -5\r\n\r\nhello"), "network"),
    "two lengths": (says(OK + b"content-length: 5\r\ncontent-length: 50\r\n\r\nhello"), "network"),
    "a length that is a lie": (says(OK + b"content-length: 99999999999999\r\n\r\n" + b"x" * 100), "network"),
    "broken chunks": (says(CHUNKED + b"zz\r\n"), "network"),
    "a gzip bomb": (says(_bomb()), "limit"),
    "gzip that is cut off": (says(_cut_gzip()), "network"),
    "gzip that is none": (says(OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello"), "network"),
    "a redirect to a file": (redirects(b"file:///etc/passwd"), "refused"),
    "a redirect to the cloud's metadata": (redirects(b"http://169.254.169.254/latest"), "refused"),
    "a redirect to another scheme": (redirects(b"gopher://127.0.0.1/"), "refused"),
    "JSON that is too deep": (says(DEEP), "limit"),
}  # fmt: skip


@contextlib.contextmanager
def listening(peer: Peer, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port on which every caller meets `peer`."""
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            with contextlib.suppress(OSError):
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=meet, args=(client,), daemon=True).start()

    def meet(client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(10)
            talking = tls.wrap_socket(client, server_side=True) if tls else client
            with talking:
                talking.recv(65536)
                peer(talking, over)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def connect(port: int, scheme: str = "http") -> None:
    settings = {"base_url": f"{scheme}://127.0.0.1:{port}", "allow_networks": ["127.0.0.0/8"]}
    create_connection(actor=Actor.system("tests"), name="peer", kind="http", settings=settings)


@pytest.mark.django_db
@pytest.mark.parametrize("response", ["auto", "resource"])
@pytest.mark.parametrize("name", PEERS)
def test_a_hostile_peer_ends_the_attempt_in_time_and_leaves_nothing(name: str, response: str) -> None:
    peer, cls = PEERS[name]
    with listening(peer) as port:
        connect(port)
        config = {"connection": "peer", "response": response, "max_bytes": 100_000}
        attempted = attempt("http", config, timeout=0.7, store=_store)
    assert error(attempted) == cls, attempted.stored
    assert attempted.stored["message"].endswith(".") and "Traceback" not in attempted.stored["message"]
    assert not Artifact.objects.exists()


def _store(chunks: Iterator[bytes], *, name: str, content_type: str) -> Any:
    from resources import artifacts

    return artifacts.ref(artifacts.write(chunks, name=name, content_type=content_type))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"\xff\xfe{\x00", "application/json"), (b"caf\xe9", "text/plain"), (b"\x80", "text/plain; charset=utf-8")],
)
def test_what_is_no_utf_8_becomes_text_that_can_be_kept(body: bytes, kind: str) -> None:
    head = OK + f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with listening(says(head + body)) as port:
        connect(port)
        attempted = attempt("http", {"connection": "peer"})
    assert "\ufffd" in attempted.stored["output"]["body"]


def certificate(folder: Path, name: str, days: int) -> ssl.SSLContext:
    """A server's context with a certificate that nobody signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(7).not_valid_before(begin).not_valid_after(begin + dt.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "days"), [("127.0.0.1", 365), ("elsewhere.example.com", 365), ("127.0.0.1", 1)])
def test_a_certificate_that_nobody_signed_ends_it_before_anything_is_sent(tmp_path: Path, name: str, days: int) -> None:
    heard: list[bytes] = []

    def peer(client: socket.socket, over: threading.Event) -> None:
        heard.append(b"request")

    with listening(peer, certificate(tmp_path, name, days)) as port:
        connect(port, "https")
        attempted = attempt("http", {"connection": "peer", "method": "POST", "json": {"a": 1}}, timeout=2.0)
    assert error(attempted) == "connect" and not heard
    assert "certificate" in attempted.stored["message"].lower()


@pytest.mark.django_db
def test_tls_to_a_server_that_speaks_none_ends_before_anything_is_sent() -> None:
    with listening(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        connect(port, "https")
        attempted = attempt("http", {"connection": "peer"}, timeout=2.0)
    assert error(attempted) == "connect"
