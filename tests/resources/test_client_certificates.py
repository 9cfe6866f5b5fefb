"""Client certificates of http connections, against a server that asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources import connections, probe, secrets
from resources.access import Actor
from resources.errors import BadInput
from resources.http_client import fetch, http_client
from resources.models import AuditEntry
from tests.resources.server import plain, serve
from tests.tls import Authority, Pair

pytestmark = [pytest.mark.django_db]
LOCAL = ["127.0.0.0/8"]


def keep_secret(admin: Actor, pair: Pair, name: str = "client-key") -> None:
    secrets.set_secret(actor=admin, name=name, value=pair.key.read_text())


def identified(admin: Actor, port: int, certificates: Authority, pair: Pair, name: str = "api") -> None:
    settings = {
        "base_url": f"https://localhost:{port}", "allow_networks": [*LOCAL, "::1/128"],
        "ca_certificates": certificates.pem, "client_certificate": pair.certificate.read_text(),
        "client_key": "client-key",
    }  # fmt: skip
    connections.create_connection(actor=admin, name=name, kind="http", settings=settings)


def test_a_server_that_asks_who_comes_is_shown_the_certificate(admin: Actor, tmp_path: Path) -> None:
    ours, own = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    us, stranger = ours.pair("orchestra"), own.pair("stranger")
    keep_secret(admin, us)
    with serve({"/": plain(200)}, tls=ours.pair("localhost").context(clients=ours)) as server:
        identified(admin, server.port, ours, us)
        assert probe.http(connections.resolve("api")).ok
        connections.create_connection(
            actor=admin, name="nobody", kind="http",
            settings={k: v for k, v in connections.get("api").settings.items() if not k.startswith("client_")},
        )  # fmt: skip
        assert not probe.http(connections.resolve("nobody")).ok
        keep_secret(admin, stranger)  # the key alone is of no use: it is looked at as it is now
        wrong = probe.http(connections.resolve("api"))
        assert not wrong.ok and "The secret client-key is not the key of the client certificate." in wrong.message
        settings = {**connections.get("api").settings, "client_certificate": stranger.certificate.read_text()}
        connections.update_connection(actor=admin, name="api", settings=settings)
        assert not probe.http(connections.resolve("api")).ok, "of an authority that the server does not know"
    assert us.key.read_text().splitlines()[1] not in str(list(AuditEntry.objects.values()))


def test_a_new_key_counts_from_the_next_request_on(admin: Actor, tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    us = ours.pair("orchestra")
    keep_secret(admin, us)
    with serve({"/": plain(200)}, tls=ours.pair("localhost").context(clients=ours)) as server:
        identified(admin, server.port, ours, us)
        ref = connections.resolve("api")
        before = http_client(ref)
        assert http_client(ref) is before
        keep_secret(admin, Pair(us.certificate, us.key))
        assert http_client(ref) is before, "the same key"
        us.key.write_text(us.key.read_text() + "\n")
        keep_secret(admin, us)
        assert http_client(ref) is not before and probe.http(ref).ok


def test_a_redirect_elsewhere_is_not_followed_with_a_certificate(admin: Actor, tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    us = ours.pair("orchestra")
    keep_secret(admin, us)
    with serve({"/": plain(200)}, tls=ours.pair("localhost").context()) as other:
        elsewhere = plain(302, Location=f"https://localhost:{other.port}/")
        answers = {"/": elsewhere, "/home": plain(302, Location="/there"), "/there": plain(200)}
        with serve(answers, tls=ours.pair("localhost").context(clients=ours)) as server:
            identified(admin, server.port, ours, us)
            client = http_client(connections.resolve("api"))
            url = f"https://localhost:{server.port}"
            answered = fetch(client, client.build_request("GET", url), timeout=5, max_bytes=100)
            home = fetch(client, client.build_request("GET", f"{url}/home"), timeout=5, max_bytes=100)
    assert (answered.status, home.status, home.url) == (302, 200, f"{url}/there")


@pytest.mark.parametrize("missing", ["client_certificate", "client_key"])
def test_a_certificate_and_its_key_go_together(admin: Actor, tmp_path: Path, missing: str) -> None:
    pair = Authority(tmp_path).pair("orchestra")
    keep_secret(admin, pair)
    given = {"client_certificate": pair.certificate.read_text(), "client_key": "client-key"}
    with pytest.raises(BadInput, match="give both, or neither"):
        del given[missing]
        connections.create_connection(
            actor=admin, name="api", kind="http", settings={"base_url": "https://x.example", **given}
        )
