"""TLS to PostgreSQL: a server with a certificate of a throwaway authority, and one that is somebody else."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flows.steps.base import Fail
from resources.probe import test_connection as try_connection
from tests.families.attempt import attempt, error, output
from tests.families.databases import ADMIN, Database

pytestmark = [pytest.mark.django_db]


def _signed(name: str, key: Any, issuer: str, issuer_key: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(issuer_key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The authority (PEM), and a folder with server.crt and server.key for localhost."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = _signed("tests", keys[0], "tests", keys[0], x509.BasicConstraints(ca=True, path_length=None))
    leaf = _signed("db", keys[1], "tests", keys[0], x509.SubjectAlternativeName([x509.DNSName("localhost")]))
    folder = tmp_path_factory.mktemp("tls")
    (folder / "server.crt").write_text(_pem(leaf))
    private = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(private)
    return _pem(root), folder


class _Tls(socketserver.BaseRequestHandler):
    """Answers PostgreSQL's request for TLS, and passes on what is inside: the server of the tests is built without."""

    def handle(self) -> None:
        self.request.recv(8)
        self.request.sendall(b"S")
        with contextlib.suppress(OSError):  # who does not trust the certificate hangs up
            inside = self.server.context.wrap_socket(self.request, server_side=True)  # type: ignore[attr-defined]
            with inside, socket.create_connection(("127.0.0.1", self.server.behind)) as behind:  # type: ignore[attr-defined]
                back = threading.Thread(target=_pass_on, args=(behind, inside), daemon=True)
                back.start()
                _pass_on(inside, behind)
                back.join()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def shop(postgres_db: Database, authority: tuple[str, Path]) -> Iterator[Database]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[1] / "server.crt", authority[1] / "server.key")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Tls) as server:
        server.daemon_threads = True
        server.block_on_close = False
        server.context, server.behind = context, postgres_db.made["port"]  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        postgres_db.made["port"] = server.server_address[1]
        yield postgres_db
        server.shutdown()


NETWORKS = ["127.0.0.0/8", "::1/128"]


def ask(name: str) -> Any:
    return attempt("db", {"connection": name, "query": "SELECT 1 AS a"})


def test_a_checked_server_is_used_and_the_name_is_what_is_checked(shop: Database, authority: tuple[str, Path]) -> None:
    shop.connect("named", host="localhost", tls="verify-full", ca=authority[0], allow_networks=NETWORKS)
    assert output(ask("named"))["rows"] == [{"a": 1}]
    tried = try_connection(actor=ADMIN, name="named")
    assert tried.ok, tried.message
    assert "over TLS" in tried.message
    assert "superuser" in tried.message


@pytest.mark.parametrize("changed", [{"host": "127.0.0.1"}, {"host": "localhost", "ca": ""}])
def test_another_name_or_authority_is_refused(
    shop: Database, authority: tuple[str, Path], changed: dict[str, str]
) -> None:
    shop.connect("other", **{"tls": "verify-full", "ca": authority[0], "allow_networks": NETWORKS, **changed})
    failed = ask("other")
    assert isinstance(failed.outcome, Fail)
    assert error(failed) == "refused"
    assert "cannot be trusted" in failed.stored["message"]
