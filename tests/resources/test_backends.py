"""Secrets whose values live in the environment or in HashiCorp Vault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resources import secret_versions, secrets
from resources.access import Actor
from resources.backends import env, vault
from resources.backends.errors import Refused, Unreachable
from resources.backends.locators import EnvLocator, VaultLocator
from resources.errors import BadInput, NotAllowed
from resources.models import AuditEntry, Secret
from resources.secret_trials import try_secret
from tests.resources.vault import FakeVault, fake_vault

pytestmark = pytest.mark.db_matrix

VALUE = "value-in-vault-4711"
TOKEN = VaultLocator(path="ci/deploy", field="token")


@pytest.fixture
def server(settings: Any) -> Iterator[FakeVault]:
    """With one secret, and a token set up to read it."""
    with fake_vault() as server:
        server.put("secret/ci/deploy", token="former-value-0815")
        server.put("secret/ci/deploy", token=VALUE, count=3, nested={"a": 1})
        settings.VAULT = {"address": server.address, "token": "root-token", "timeout": 2.0, "cache_seconds": 0.0}
        vault.forget()
        yield server
        vault.forget()


def by_role(settings: Any, server: FakeVault, **more: Any) -> None:
    server.roles["role-1"] = "secret-id-1"
    settings.VAULT = {"address": server.address, "role_id": "role-1", "secret_id": "secret-id-1", "cache_seconds": 0.0}
    settings.VAULT |= more


def test_the_newest_version_or_a_named_one_is_read(server: FakeVault) -> None:
    assert vault.read(TOKEN) == VALUE
    assert vault.read(TOKEN.model_copy(update={"version": 1})) == "former-value-0815"
    assert vault.read(TOKEN.model_copy(update={"field": "count"})) == "3"


def test_a_value_is_kept_for_seconds_and_then_read_again(server: FakeVault, settings: Any) -> None:
    settings.VAULT |= {"cache_seconds": 300.0}
    assert [vault.read(TOKEN) for _ in range(3)] == [VALUE] * 3
    assert server.reads == 1
    settings.VAULT |= {"cache_seconds": 0.0}
    vault.read(TOKEN)
    vault.read(TOKEN)
    assert server.reads == 3


def test_what_is_kept_in_memory_is_bounded(server: FakeVault, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "MAX_CACHED", 2)
    settings.VAULT |= {"cache_seconds": 300.0}
    for version in (1, 2, None):
        vault.read(TOKEN.model_copy(update={"version": version}))
    assert len(vault._memory.values) == 2


def test_the_namespace_is_sent(server: FakeVault, settings: Any) -> None:
    server.namespace = "team/a"
    with pytest.raises(Refused):
        vault.read(TOKEN)
    settings.VAULT |= {"namespace": "team/a"}
    assert vault.read(TOKEN) == VALUE


def test_a_token_file_is_read_each_time_as_an_agent_renews_it(server: FakeVault, settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("root-token\n")
    settings.VAULT = {"address": server.address, "token_file": str(file), "cache_seconds": 0.0}
    assert vault.read(TOKEN) == VALUE
    server.tokens = {"renewed-token": ["secret/"]}
    file.write_text("renewed-token\n")
    assert vault.read(TOKEN) == VALUE


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"a\x00b", b"two\nlines"])
def test_a_token_file_that_holds_none_is_said(
    server: FakeVault, settings: Any, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    settings.VAULT = {"address": server.address, "token_file": str(file)}
    with pytest.raises(Refused, match="VAULT_TOKEN_FILE"):
        vault.read(TOKEN)
    assert server.reads == 0


def test_by_role_a_token_is_fetched_once_and_again_before_its_lease_ends(server: FakeVault, settings: Any) -> None:
    by_role(settings, server)
    assert [vault.read(TOKEN), vault.read(TOKEN)] == [VALUE, VALUE]
    assert server.logins == 1
    vault.forget()
    server.lease = 1
    vault.read(TOKEN)
    vault._memory.tokens = {config: (token, 0.0) for config, (token, _) in vault._memory.tokens.items()}
    assert vault.read(TOKEN) == VALUE
    assert server.logins == 3


def test_by_role_a_revoked_token_is_replaced_once(server: FakeVault, settings: Any) -> None:
    by_role(settings, server)
    vault.read(TOKEN)
    server.tokens.clear()
    assert vault.read(TOKEN) == VALUE
    assert server.logins == 2
    server.kv.clear()
    with pytest.raises(Refused, match="nothing at secret/ci/deploy"):
        vault.read(TOKEN)
    assert server.logins == 2


def test_by_role_a_wrong_secret_id_is_said(server: FakeVault, settings: Any) -> None:
    by_role(settings, server, secret_id="wrong-secret-id")
    with pytest.raises(Refused, match=r"AppRole \(400\) \(invalid role or secret ID\)") as caught:
        vault.read(TOKEN)
    assert "wrong-secret-id" not in f"{caught.value} {caught.value.hint} {caught.value.details}"


def deleted(server: FakeVault) -> None:
    server.kv["secret/ci/deploy"][1].deletion_time = "2026-02-01T00:00:00Z"


def destroyed(server: FakeVault) -> None:
    server.kv["secret/ci/deploy"][1].destroyed = True


def set_(**attributes: Any) -> Callable[[FakeVault], None]:
    return lambda server: vars(server).update(attributes)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (set_(sealed=True), Unreachable, "Vault is sealed."),
        (set_(standby=True), Unreachable, "answered 473"),
        (set_(tokens={}), Refused, "does not let us read secret/ci/deploy"),
        (set_(kv={}), Refused, "nothing at secret/ci/deploy"),
        (deleted, Refused, "is deleted"),
        (destroyed, Refused, "was destroyed"),
        (set_(raw=(200, b"<html>")), Refused, "no KV version 2 engine's answer"),
        (set_(raw=(200, b'{"data": {"token": "flat"}}')), Refused, "no KV version 2 engine's answer"),
        (set_(raw=(200, b"\xff\xfe\x00")), Refused, "no KV version 2 engine's answer"),
        (set_(raw=(200, b"[" * 100_000)), Refused, "no KV version 2 engine's answer"),
        (set_(raw=(200, b'{"data": {"data": {"token": {"a": 1}}}}')), Refused, "is no text"),
        (set_(raw=(200, b'{"data": {"data": {"token": ""}}}')), Refused, "has 0 bytes"),
        (set_(raw=(200, b'{"data": {"data": {"other": "x"}}}')), Refused, "has no field token"),
        (set_(raw=(200, b'{"data": {"data": {"token": "%b"}}}' % (b"x" * 65537))), Refused, "has 65537 bytes"),
        (set_(raw=(200, b" " * 2_000_000)), Unreachable, "ResponseTooLarge"),
        (set_(raw=(500, b'{"errors": ["internal error"]}')), Unreachable, r"answered 500 \(internal error\)"),
        (set_(raw=(429, b"{}")), Unreachable, "answered 429"),
        (set_(raw=(405, b'{"errors": ["a\\u001b[31m"]}')), Refused, r"answered 405 \(a \[31m\)"),
        (set_(raw=(307, b"")), Unreachable, "not reached"),
        (set_(drip=0.1), Unreachable, "did not answer within 0.5 s"),
    ],
)
def test_whatever_vault_does_is_said_in_a_sentence(
    server: FakeVault, admin: Actor, settings: Any, change: Callable[[FakeVault], None], kind: Any, words: str
) -> None:
    secrets.point_secret(actor=admin, name="deploy", source="vault", locator=TOKEN.model_dump())
    change(server)
    settings.VAULT |= {"timeout": 0.5}
    with pytest.raises(kind, match=words) as caught:
        secrets.reveal("deploy")
    shown = f"{caught.value} {caught.value.hint} {caught.value.details} {caught.value.__cause__}"
    assert "root-token" not in shown
    assert VALUE not in shown


def test_a_vault_that_is_not_there_is_said(server: FakeVault, settings: Any) -> None:
    settings.VAULT |= {"address": "http://127.0.0.1:9"}
    with pytest.raises(Unreachable, match=r"not reached at http://127\.0\.0\.1:9"):
        vault.read(TOKEN)
    settings.VAULT = {"address": ""}
    with pytest.raises(Refused, match="not set up"):
        vault.read(TOKEN)
    settings.VAULT = {"address": server.address}
    with pytest.raises(Refused, match="how to sign in"):
        vault.read(TOKEN)


def test_the_environment_gives_what_it_has_at_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    locator = EnvLocator(variable="ORCHESTRA_SECRET_DEPLOY")
    monkeypatch.setenv("ORCHESTRA_SECRET_DEPLOY", "one")
    assert env.read(locator) == "one"
    monkeypatch.delenv("ORCHESTRA_SECRET_DEPLOY")
    with pytest.raises(Refused, match="has no ORCHESTRA_SECRET_DEPLOY"):
        env.read(locator)


@pytest.mark.parametrize(
    ("source", "locator", "path"),
    [
        ("file", {}, "source"),
        ("stored", {}, "source"),
        ("env", {}, "variable"),
        ("env", {"variable": "PATH"}, "variable"),
        ("env", {"variable": "SECRET_KEY"}, "variable"),
        ("env", {"variable": "ORCHESTRA_SECRET_"}, "variable"),
        ("env", {"variable": "ORCHESTRA_SECRET_A\n"}, "variable"),
        ("env", {"variable": 7}, "variable"),
        ("vault", {}, "path"),
        ("vault", {"path": "a/../../sys/raw"}, "path"),
        ("vault", {"path": "a?version=1"}, "path"),
        ("vault", {"path": "a//b"}, "path"),
        ("vault", {"path": "a", "mount": ".."}, "mount"),
        ("vault", {"path": "a", "version": 0}, "version"),
        ("vault", {"path": "a", "address": "http://evil.example"}, "address"),
    ],
)
def test_a_place_that_is_none_of_ours_to_read_is_refused(
    admin: Actor, source: str, locator: dict[str, Any], path: str
) -> None:
    with pytest.raises(BadInput) as caught:
        secrets.point_secret(actor=admin, name="s", source=source, locator=locator)
    assert caught.value.details[0]["path"] == path
    assert not Secret.objects.exists()


def test_a_secret_moves_to_vault_and_back_with_its_history(server: FakeVault, admin: Actor) -> None:
    secrets.set_secret(actor=admin, name="deploy", value="stored-value-0001")
    pointed = secrets.point_secret(
        actor=admin, name="deploy", source="vault", locator={"path": "ci/deploy", "field": "token"}, overlap=60
    )
    assert (pointed.version, pointed.last4, bytes(pointed.ciphertext)) == (2, "", b"")
    assert secrets.reveal_all("deploy") == [VALUE, "stored-value-0001"]
    secrets.set_secret(actor=admin, name="deploy", value="stored-value-0003", overlap=60)
    assert secrets.reveal_all("deploy") == ["stored-value-0003", VALUE, "stored-value-0001"]
    secret_versions.restore_version(actor=admin, name="deploy", version=2)
    assert secrets.reveal("deploy") == VALUE
    secret_versions.revoke_version(actor=admin, name="deploy", version=1)
    assert secrets.reveal_all("deploy") == [VALUE]
    entry = AuditEntry.objects.filter(action="secret.rotated").order_by("seq")[0]
    assert entry.data["locator"] == {"mount": "secret", "path": "ci/deploy", "field": "token", "version": None}
    assert all(VALUE not in str(e.data) for e in AuditEntry.objects.all())


def test_what_cannot_be_read_is_not_pointed_at(server: FakeVault, admin: Actor) -> None:
    with pytest.raises(Refused):
        secrets.point_secret(actor=admin, name="s", source="vault", locator={"path": "not/there"})
    assert not Secret.objects.exists()


def test_only_admins_point(server: FakeVault, author: Actor) -> None:
    with pytest.raises(NotAllowed):
        secrets.point_secret(actor=author, name="s", source="vault", locator=TOKEN.model_dump())
    assert server.reads == 0


def test_trying_a_secret_asks_vault_anew_and_says_what_is_wrong(server: FakeVault, settings: Any, admin: Actor) -> None:
    settings.VAULT |= {"cache_seconds": 300.0}
    place = {"path": "ci/deploy", "field": "token"}
    secrets.point_secret(actor=admin, name="deploy", source="vault", locator=place)
    found = try_secret(actor=admin, name="deploy")
    assert (found.ok, server.reads) == (True, 2)
    assert found.message.startswith("It can be read: Vault gave it in ")
    server.sealed = True
    refused = try_secret(actor=admin, name="deploy")
    assert (refused.ok, refused.message) == (
        False,
        "The secret deploy cannot be read: Vault is sealed. Somebody has to unseal it.",
    )
    assert VALUE not in found.message
