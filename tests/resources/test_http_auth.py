"""How requests through an http connection show who sends them: signatures, tokens and their renewal, authorities."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

from resources import connections, http_client, oauth, oauth_kept, probe, secrets
from resources.access import Actor
from resources.connection_settings import HmacAuth
from resources.connections import ConnectionRef
from resources.errors import BadInput
from resources.http_auth import authorise, exchange, signature
from resources.masking import Masker
from resources.models import AccessToken
from tests.resources.server import plain, serve

SECRET = "client-s3cret/with+odd chars"
LOCAL = ["127.0.0.0/8"]


class TokenServer:
    """A token endpoint and an API behind it, on loopback: gives tokens t1, t2, …; the API takes the latest only."""

    def __init__(self) -> None:
        self.given = 0
        self.answer: tuple[int, bytes] | None = None
        self.expires_in: Any = 3600
        self.delay = 0.0
        self.speaks = threading.Event()
        self.speaks.set()
        self.accepted: set[str] | None = None
        self.api_calls = 0

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Nobody is answered in the body."""
        self.speaks.clear()
        try:
            yield
        finally:
            self.speaks.set()

    def token(self, handler: BaseHTTPRequestHandler) -> None:
        self.speaks.wait(200)
        time.sleep(self.delay)
        self.given += 1
        value = {"access_token": f"token-{self.given}", "token_type": "Bearer", "expires_in": self.expires_in}
        status, body = self.answer or (200, json.dumps(value).encode())
        plain(status, body, Content_Type="application/json")(handler)

    def api(self, handler: BaseHTTPRequestHandler) -> None:
        self.api_calls += 1
        ok = self.accepted if self.accepted is not None else {f"Bearer token-{self.given}"}
        plain(200 if handler.headers.get("Authorization") in ok else 401)(handler)


@pytest.fixture
def site() -> Iterator[tuple[TokenServer, Any]]:
    tokens = TokenServer()
    with serve({"/token": tokens.token, "/api": tokens.api}) as server:
        yield tokens, server


@pytest.fixture(autouse=True)
def no_tokens_yet() -> None:
    oauth._held.clear()


def make(admin: Actor, server: Any, **auth: Any) -> ConnectionRef:
    secrets.set_secret(actor=admin, name="client", value=SECRET)
    given = {"type": "oauth2", "token_url": server.url("/token"), "client_id": "me", "secret": "client", **auth}
    settings = {"base_url": server.url("/api"), "auth": given, "allow_networks": LOCAL}
    connections.create_connection(actor=admin, name="api", kind="http", settings=settings)
    return connections.resolve("api")


def call(ref: ConnectionRef, masker: Masker | None = None) -> int:
    request = httpx2.Request("GET", str(http_client.settings_of(ref).base_url))
    client = http_client.http_client(ref)
    return exchange(ref, client, request, timeout=5, max_bytes=1000, masker=masker or Masker()).status


pytestmark = [pytest.mark.django_db]


def test_a_token_is_asked_for_once_and_used_until_shortly_before_it_expires(admin: Actor, site: Any) -> None:
    tokens, server = site
    ref = make(admin, server, scope="read write", audience="https://api")
    masker = Masker()
    assert [call(ref, masker) for _ in range(3)] == [200, 200, 200]
    assert tokens.given == 1
    assert "token-1" not in masker.text("token-1") and SECRET not in masker.text(f"x{SECRET}x")
    oauth._held[ref.id] = oauth.Held(ref, "token-1", time.monotonic() - 0.001, ())
    assert (call(ref), tokens.given) == (200, 2)


@pytest.mark.parametrize("style", ["basic", "post"])
def test_the_client_shows_itself_in_a_header_or_in_the_body(admin: Actor, style: str) -> None:
    with serve({"/token": plain(200, b'{"access_token": "t"}')}) as server:
        ref = make(admin, server, auth_style=style, scope="a b")
        authorise(ref, httpx2.Request("GET", server.url("/api")))
    form, (_, _, headers) = parse_qs(server.bodies[0].decode()), server.seen[0]
    assert (form["grant_type"], form["scope"]) == (["client_credentials"], ["a b"])
    if style == "post":
        assert (form["client_secret"], "authorization" in headers) == ([SECRET], False)
    else:
        shown = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
        assert shown == "me:client-s3cret%2Fwith%2Bodd%20chars" and "client_secret" not in form


def test_a_token_is_known_sealed_before_it_is_sent_until_it_has_expired(admin: Actor, site: Any) -> None:
    ref = make(admin, site[1])
    assert call(ref) == 200
    assert oauth_kept.in_use([ref.id]) == ["token-1"]
    assert oauth_kept.in_use([ref.id + 1]) == []
    row = AccessToken.objects.get()
    assert b"token-1" not in bytes(row.value)
    assert 3600 < row.until - time.time() <= 3600 + 60
    AccessToken.objects.update(until=time.time() - 1)
    assert oauth_kept.in_use([ref.id]) == []
    oauth_kept.note(ref.id, "token-2", 60)
    assert AccessToken.objects.count() == 1, "what has expired is not kept"


def test_of_one_connection_only_the_newest_tokens_are_kept_and_all_go_with_it(admin: Actor, site: Any) -> None:
    ref = make(admin, site[1])
    for n in range(oauth_kept.MOST + 2):
        oauth_kept.note(ref.id, f"token-{n}", None)
    assert sorted(oauth_kept.in_use([ref.id])) == sorted(f"token-{n}" for n in range(2, oauth_kept.MOST + 2))
    connections.delete_connection(actor=admin, name="api")
    assert AccessToken.objects.count() == 0


def test_tokens_are_sealed_anew_with_everything_else(admin: Actor, site: Any, settings: Any) -> None:
    ref = make(admin, site[1])
    oauth_kept.note(ref.id, "token-1", 60)
    settings.ENCRYPTION_KEYS = {"newest": base64.b64encode(b"k" * 32).decode(), **settings.ENCRYPTION_KEYS}
    call_command("rotate_keys", stdout=StringIO())
    assert AccessToken.objects.get().key_id == "newest"
    assert oauth_kept.in_use([ref.id]) == ["token-1"]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(600, 660), ("600", 660), (None, 86_460), (True, 86_460), ("soon", 86_460), (-1, 86_460), (1e300, 2_592_060)],
)
def test_how_long_a_token_is_known(said: Any, seconds: float) -> None:
    assert oauth_kept.known_for(said) == seconds


def test_a_token_the_api_refuses_is_renewed_once(admin: Actor, site: Any) -> None:
    tokens, server = site
    ref = make(admin, server)
    assert call(ref) == 200
    tokens.given += 1  # the API forgot token-1: only the next is accepted
    masker = Masker()
    assert call(ref, masker) == 200
    assert "token-3" not in masker.text("token-3")
    tokens.accepted, tokens.api_calls = set(), 0
    assert (call(ref), tokens.api_calls) == (401, 2)


def test_threads_that_need_a_token_at_once_share_one_request(admin: Actor, site: Any) -> None:
    tokens, server = site
    tokens.delay = 0.2
    ref = make(admin, server)
    auth: Any = http_client.settings_of(ref).auth
    value = secrets.reveal("client")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(secrets, "reveal", lambda name: value)  # threads see no uncommitted rows
        patch.setattr(oauth_kept, "note", lambda *_: None)
        start = threading.Barrier(8)

        def one() -> str:
            start.wait(10)
            return oauth.token(ref, auth, timeout=10).value

        got = [job.result(20) for job in [pool.submit(one) for _ in range(8)]]
    assert (set(got), tokens.given) == ({"token-1"}, 1)


def test_another_version_of_the_connection_gets_a_token_of_its_own(admin: Actor, site: Any) -> None:
    tokens, server = site
    ref = make(admin, server)
    call(ref)
    settings = connections.stored_json(ref.settings)
    connections.update_connection(actor=admin, name="api", settings={**settings, "headers": {"X-Two": "2"}})
    assert (call(connections.resolve("api")), tokens.given) == (200, 2)


HOSTILE = [
    ((401, b'{"error": "invalid_client", "error_description": "' + SECRET.encode() + b'"}'), False, "invalid_client"),
    ((503, b"busy"), True, "503"),
    ((429, b""), True, "429"),
    ((200, b"<html>"), False, "access_token"),
    ((200, b"[" * 100_000), False, "no_token"),
    ((200, b"\xff\xfe"), False, "access_token"),
    ((200, b'{"access_token": "a\\r\\nb"}'), False, "access_token"),
    ((200, b'{"access_token": 5}'), False, "access_token"),
    ((200, b'{"access_token": "t", "token_type": "mac"}'), False, "bearer"),
    ((200, b'{"access_token": "' + b"x" * 20_000 + b'"}'), False, "access_token"),
    ((200, b" " * 100_000), False, "bytes"),
    ((302, b""), False, "302"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "again", "said"), HOSTILE, ids=[str(n) for n in range(len(HOSTILE))])
def test_token_addresses_that_misbehave_are_told_in_words_and_never_show_the_secret(
    admin: Actor, site: Any, answer: tuple[int, bytes], again: bool, said: str
) -> None:
    tokens, server = site
    tokens.answer = answer
    ref = make(admin, server)
    with pytest.raises(oauth.TokenFailed) as caught:
        authorise(ref, httpx2.Request("GET", server.url("/api")))
    error = caught.value
    assert error.again is again
    assert said in error.message or said in ("no_token", error.stable_code)
    assert SECRET not in error.message + error.hint
    assert (tokens.api_calls, oauth._held) == (0, {})
    assert not probe.http(ref).ok


def test_a_slow_token_address_is_bounded_by_the_time_of_the_request(admin: Actor, site: Any) -> None:
    tokens, server = site
    ref = make(admin, server)
    with tokens.silent(), pytest.raises(oauth.TokenFailed) as caught:  # it answers when it was given up
        authorise(ref, httpx2.Request("GET", server.url("/api")), timeout=0.2)
    assert caught.value.again


def test_the_token_request_goes_through_the_same_guard(admin: Actor, site: Any) -> None:
    tokens, server = site
    ref = make(admin, server)
    settings = connections.stored_json(ref.settings)
    connections.update_connection(actor=admin, name="api", settings={**settings, "allow_networks": []})
    with pytest.raises(oauth.TokenFailed, match="No token was given"):
        authorise(connections.resolve("api"), httpx2.Request("GET", server.url("/api")))
    assert tokens.given == 0


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers())))
def test_whatever_a_server_says_of_its_life_a_token_is_used_for_a_bounded_time(said: Any) -> None:
    assert 0 < oauth.usable_for(said) <= oauth.LONGEST_LIFE


BODY = b'{"a":1}'


@pytest.mark.parametrize(
    ("given", "signed"),
    [({"signs": "body"}, BODY), ({}, b"1700000000." + BODY),
     ({"signs": "request"}, b"PUT\n/x?a=%20b\n1700000000\n" + BODY)],
)  # fmt: skip
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
def test_a_request_is_signed(given: dict[str, Any], signed: bytes, algorithm: str) -> None:
    auth = HmacAuth(type="hmac", secret="k", algorithm=algorithm, prefix="v1=", **given)  # type: ignore[arg-type]
    request = httpx2.Request("PUT", "https://api.example.com/x?a=%20b", content=BODY)
    headers = signature(auth, b"key", request, 1_700_000_000)
    assert headers["X-Signature"] == "v1=" + hmac.new(b"key", signed, getattr(hashlib, algorithm)).hexdigest()
    assert headers.get("X-Timestamp") == (None if given.get("signs") == "body" else "1700000000")


def test_a_body_that_streams_is_signed_whole() -> None:
    request = httpx2.Request("POST", "https://x.example", files={"f": ("f.txt", b"text")})
    headers = signature(HmacAuth(type="hmac", secret="k", signs="body"), b"key", request, 1)
    assert headers["X-Signature"] == hmac.new(b"key", request.content, hashlib.sha256).hexdigest()
    assert b"text" in request.content


def test_a_body_too_long_to_be_signed_is_refused() -> None:
    request = httpx2.Request("POST", "https://x.example", content=(b"x" for _ in range(3)))
    with pytest.raises(BadInput, match="cannot be signed"):
        signature(HmacAuth(type="hmac", secret="k"), b"key", request, 1)


def test_a_signature_is_sent_and_the_secret_is_not(admin: Actor) -> None:
    secrets.set_secret(actor=admin, name="key", value=SECRET)
    with serve({"/": plain(200)}) as server:
        auth = {"type": "hmac", "secret": "key", "encoding": "base64"}
        settings = {"base_url": server.url(""), "auth": auth, "allow_networks": LOCAL}
        connections.create_connection(actor=admin, name="api", kind="http", settings=settings)
        assert call(connections.resolve("api")) == 200
    headers = server.seen[0][2]
    assert len(base64.b64decode(headers["x-signature"])) == 32
    assert SECRET not in str(headers)


def test_a_key_in_the_address_is_refused_with_the_reason() -> None:
    auth = {"type": "api_key", "secret": "k", "in": "query"}
    with pytest.raises(BadInput, match="in a header"):
        connections.parse_settings("http", {"base_url": "https://x.example", "auth": auth})


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=localhost")
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    plain_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(pem.encode() + plain_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return pem, context


@pytest.mark.parametrize("trusted", [True, False])
def test_authorities_of_ones_own_are_trusted_where_they_are_given(
    admin: Actor, certificate: tuple[str, ssl.SSLContext], trusted: bool
) -> None:
    pem, context = certificate
    with serve({"/": plain(200)}, tls=context) as server:
        settings: dict[str, Any] = {
            "base_url": f"https://localhost:{server.port}",
            "allow_networks": [*LOCAL, "::1/128"],
        }
        settings |= {"ca_certificates": pem} if trusted else {}
        connections.create_connection(actor=admin, name="api", kind="http", settings=settings)
        tested = probe.http(connections.resolve("api"))
    assert tested.ok is trusted
    assert trusted or "certificate" in tested.message.lower()


@pytest.mark.parametrize("pem", ["nonsense", "-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----"])
def test_what_are_no_certificates_is_refused(pem: str) -> None:
    with pytest.raises(BadInput):
        connections.parse_settings("http", {"base_url": "https://x.example", "ca_certificates": pem})
