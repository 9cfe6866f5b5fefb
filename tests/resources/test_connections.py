"""Connections: typed settings, versions, credentials that live in secrets only."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from resources import connections, probe, secrets, usage
from resources.access import Actor
from resources.connection_settings import HttpSettings, join_url
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.http_auth import authorise
from resources.models import AuditEntry, Connection
from tests.resources.server import plain, serve

URL = "https://api.example.com/v1"
pytestmark = pytest.mark.db_matrix


def create(actor: Actor, **settings: Any) -> Connection:
    return connections.create_connection(actor=actor, name="ci", kind="http", settings={"base_url": URL, **settings})


def test_a_connection_resolves_with_all_its_settings_filled_in(admin: Actor) -> None:
    row = create(admin, base_url=f" {URL}/ ", allow_networks=["10.1.0.0/16"])
    ref = connections.resolve("ci")
    assert (ref.id, ref.name, ref.kind, ref.version) == (row.pk, "ci", "http", 1)
    assert ref.settings == HttpSettings(base_url=URL, allow_networks=("10.1.0.0/16",))
    assert connections.ref_json("ci") == {"id": row.pk, "name": "ci", "version": 1, "kind": "http"}


def test_only_a_real_change_makes_a_new_version(admin: Actor) -> None:
    create(admin)
    same = connections.update_connection(actor=admin, name="ci", settings={"base_url": URL})
    assert same.version == 1
    changed = connections.update_connection(actor=admin, name="ci", settings={"base_url": URL + "/x"})
    assert changed.version == 2
    entries = list(AuditEntry.objects.order_by("seq").values_list("action", flat=True))
    assert entries == ["connection.created", "connection.updated"]
    last = AuditEntry.objects.get(seq=2).data
    assert (last["before"]["base_url"], last["after"]["base_url"]) == (URL, URL + "/x")


def test_only_admins_change_connections(author: Actor, admin: Actor) -> None:
    create(admin)
    for act in (
        lambda: create(author),
        lambda: connections.update_connection(actor=author, name="ci", settings={"base_url": URL + "/x"}),
        lambda: connections.delete_connection(actor=author, name="ci"),
        lambda: probe.test_connection(actor=author, name="ci"),
    ):
        with pytest.raises(NotAllowed):
            act()
    assert connections.resolve("ci").version == 1


def test_a_name_is_taken_once_and_missing_ones_are_said_to_be_missing(admin: Actor) -> None:
    create(admin)
    with pytest.raises(Conflict) as caught:
        create(admin)
    assert caught.value.stable_code == "connection_exists"
    connections.delete_connection(actor=admin, name="ci")
    for act in (
        lambda: connections.resolve("ci"),
        lambda: connections.update_connection(actor=admin, name="ci", settings={"base_url": URL}),
        lambda: connections.delete_connection(actor=admin, name="ci"),
    ):
        with pytest.raises(NotFound):
            act()


def test_what_a_higher_layer_uses_is_not_deleted(admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(usage._finders, "connection", [])
    usage.register("connection", lambda name: [f"flow uses-{name}"])
    create(admin)
    with pytest.raises(Conflict, match="uses-ci"):
        connections.delete_connection(actor=admin, name="ci")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"base_url": ""}, "base_url"),
    ({"base_url": "ftp://example.com"}, "base_url"),
    ({"base_url": "https://"}, "base_url"),
    ({"base_url": "https://user:pw@example.com"}, "base_url"),
    ({"base_url": "https://example.com?x=1"}, "base_url"),
    ({"base_url": "https://example.com/#a"}, "base_url"),
    ({"base_url": "https://example.com:99999"}, "base_url"),
    ({"base_url": "https://exa mple.com"}, "base_url"),
    ({"base_url": "https://[::1"}, "base_url"),
    ({"auth": {"type": "bearer"}}, "auth.secret"),
    ({"auth": {"type": "bearer", "secret": "nowhere"}}, "auth.secret"),
    ({"auth": {"type": "basic", "secret": "nowhere"}}, "auth.username"),
    ({"auth": {"type": "magic"}}, "auth.type"),
    ({"auth": {"type": "none", "token": "abc"}}, "auth.token"),
    ({"allow_networks": ["10.0.0.5/8"]}, "allow_networks.0"),
    ({"allow_networks": ["everything"]}, "allow_networks.0"),
    ({"headers": {"Bad Name": "x"}}, "headers.Bad Name.[key]"),
    ({"headers": {"X": "a\r\nY: b"}}, "headers.X"),
    ({"headers": {"Authorization": "Bearer abc"}}, "headers.Authorization.[key]"),
    ({"secret_token": "abc"}, "secret_token"),
]


@pytest.mark.parametrize(("settings", "path"), BAD, ids=[f"{path}-{n}" for n, (_, path) in enumerate(BAD)])
def test_settings_that_break_a_rule_are_refused_at_their_field(
    admin: Actor, settings: dict[str, Any], path: str
) -> None:
    with pytest.raises(BadInput) as caught:
        create(admin, **settings)
    assert [detail["path"] for detail in caught.value.details] == [path]
    assert not Connection.objects.exists()


CREDENTIALS = [
    ("X-Api-Key", "abc"), ("X-Auth-Token", "abc"), ("Private-Token", "abc"), ("DD-APPLICATION-KEY", "abc"),
    ("X-Amz-Security-Token", "abc"), ("X-Session-Id", "abc"), ("x-functions-key", "abc"), ("Set-Cookie2", "a=b"),
    ("X-What", "Bearer abcdefgh"), ("X-What", "ghp_abcdefghijklmnop"), ("Referer", "https://me:pass@example.com/"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), CREDENTIALS)
def test_a_credential_among_the_plain_headers_is_sent_to_the_setting_for_it(
    admin: Actor, name: str, value: str
) -> None:
    for kind, said in (("http", "`auth`"), ("llm", "`key`")):
        with pytest.raises(BadInput) as caught:
            connections.create_connection(
                actor=admin, name="api", kind=kind,
                settings={"base_url": "https://api.example.com", "headers": {name: value}},
            )  # fmt: skip
        (problem,) = caught.value.details
        assert problem["path"] == f"headers.{name}" and name in problem["message"] and said in problem["message"]
        assert value not in problem["message"]
    assert not Connection.objects.exists()


def test_plain_headers_stay_plain(admin: Actor) -> None:
    harmless = {"Accept": "text/plain", "X-Atlassian-Token": "no-check", "X-Tenant": "payments", "X-Key-Format": "pem"}
    assert create(admin, headers=harmless).settings["headers"] == harmless


def test_a_connection_from_before_still_works_and_is_mended_with_its_next_change(admin: Actor) -> None:
    settings = {"base_url": "https://api.example.com", "headers": {"X-Api-Key": "abc"}}
    Connection.objects.create(name="old", kind="http", settings=settings)
    assert connections.resolve("old").settings.headers == {"X-Api-Key": "abc"}  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="X-Api-Key"):
        connections.update_connection(actor=admin, name="old", settings={**settings, "honours_idempotency_key": True})


@pytest.mark.parametrize(
    "header", ["Host", "content-length", "Transfer-Encoding", "Connection", "TE", "Idempotency-Key"]
)
def test_a_key_travels_in_no_header_of_the_program(admin: Actor, header: str) -> None:
    secrets.set_secret(actor=admin, name="key", value="some-value")
    for auth, field in (
        ({"type": "api_key", "secret": "key", "header": header}, "header"),
        ({"type": "hmac", "secret": "key", "header": header}, "header"),
        ({"type": "hmac", "secret": "key", "timestamp_header": header}, "timestamp_header"),
    ):
        with pytest.raises(BadInput) as caught:
            create(admin, auth=auth)
        assert [detail["path"] for detail in caught.value.details] == [f"auth.{field}"]


@pytest.mark.parametrize("url", ["http://[::1]:8080", "https://a.example.com:8443/x/y", "http://localhost"])
def test_ordinary_addresses_pass(url: str) -> None:
    assert HttpSettings(base_url=url).base_url == url


def test_an_unknown_kind_is_refused(admin: Actor) -> None:
    with pytest.raises(BadInput, match="carrier-pigeon"):
        connections.create_connection(actor=admin, name="x", kind="carrier-pigeon", settings={})


@pytest.mark.parametrize(
    ("path", "url"),
    [("", URL), ("/builds", f"{URL}/builds"), ("builds?a=1", f"{URL}/builds?a=1"), ("?a=../b", f"{URL}?a=../b")],
)
def test_paths_are_joined_below_the_base(path: str, url: str) -> None:
    assert join_url(URL, path) == url


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "a/../../b", "%2e%2E/b", "..", "a\\b", "a\nb", "a#b", "javascript:x"],
)
def test_a_path_cannot_leave_the_base(path: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        join_url(URL, path)


AUTHS = [
    ({"type": "bearer"}, "authorization", "Bearer s3cret-value"),
    ({"type": "basic", "username": "u"}, "authorization", "Basic " + base64.b64encode(b"u:s3cret-value").decode()),
    ({"type": "api_key", "header": "X-Key"}, "x-key", "s3cret-value"),
]


@pytest.mark.parametrize(("auth", "header", "sent"), AUTHS)
def test_credentials_are_added_to_the_request_and_named_for_masking(
    admin: Actor, auth: dict[str, str], header: str, sent: str
) -> None:
    secrets.set_secret(actor=admin, name="token", value="s3cret-value")
    create(admin, auth={**auth, "secret": "token"})
    assert "s3cret" not in json.dumps(Connection.objects.get().settings)
    request = httpx2.Request("GET", URL)
    assert "s3cret-value" in authorise(connections.resolve("ci"), request)
    assert request.headers[header] == sent


def test_a_rotated_secret_is_used_at_once_without_a_new_version(admin: Actor) -> None:
    secrets.set_secret(actor=admin, name="token", value="first-value")
    create(admin, auth={"type": "bearer", "secret": "token"})
    secrets.set_secret(actor=admin, name="token", value="other-value")
    request = httpx2.Request("GET", URL)
    authorise(connections.resolve("ci"), request)
    assert request.headers["authorization"] == "Bearer other-value"
    assert connections.resolve("ci").version == 1


def test_a_secret_no_header_can_carry_is_refused_without_being_quoted(admin: Actor) -> None:
    secrets.set_secret(actor=admin, name="token", value="two\nlines")
    create(admin, auth={"type": "bearer", "secret": "token"})
    with pytest.raises(BadInput) as caught:
        authorise(connections.resolve("ci"), httpx2.Request("GET", URL))
    assert "two" not in caught.value.message


ANSWERS = [
    (200, True, "200"),
    (401, False, "credentials"),
    (404, True, "404"),
    (503, False, "fault"),
    (418, False, "418"),
]


@pytest.mark.parametrize(("status", "good", "word"), ANSWERS)
def test_trying_a_connection_says_what_happened(admin: Actor, status: int, good: bool, word: str) -> None:
    with serve({"/v1": plain(status)}) as server:
        create(admin, base_url=server.url("/v1"), allow_networks=["127.0.0.0/8"])
        tried = probe.test_connection(actor=admin, name="ci")
    assert tried.ok is good
    assert word in tried.message
    assert AuditEntry.objects.filter(action="connection.tested").count() == 1


def test_trying_a_private_address_says_how_to_allow_it(admin: Actor) -> None:
    create(admin, base_url="http://127.0.0.1:1")
    tried = probe.test_connection(actor=admin, name="ci")
    assert not tried.ok
    assert "loopback" in tried.message and "allow" in tried.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://0177.0.0.1"])
def test_trying_what_does_not_answer_is_no_crash(admin: Actor, url: str) -> None:
    create(admin, base_url=url, allow_networks=["127.0.0.0/8"])
    tried = probe.test_connection(actor=admin, name="ci")
    assert not tried.ok
    assert "127.0.0.1" in tried.message or "0177" in tried.message


def test_settings_never_change_in_place() -> None:
    with pytest.raises(ValidationError):
        HttpSettings(base_url=URL).base_url = "http://other"
