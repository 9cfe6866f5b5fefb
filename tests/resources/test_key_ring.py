"""The ring of encryption keys: where it comes from, and sealing everything anew while all goes on."""

from __future__ import annotations

import base64
import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from orchestra import keys
from resources import crypto, sealed, secrets
from resources.access import Actor
from resources.models import AuditEntry, Secret, SecretVersion

pytestmark = pytest.mark.db_matrix


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def command(*argv: str) -> str:
    out = StringIO()
    call_command("rotate_keys", *argv, stdout=out, stderr=out)
    return out.getvalue()


@pytest.fixture
def ring(settings: Any) -> dict[str, str]:
    """The ring before."""
    settings.ENCRYPTION_KEYS = {"k1": key()}
    return dict(settings.ENCRYPTION_KEYS)


@pytest.fixture
def stocked(ring: dict[str, str], admin: Actor, settings: Any) -> None:
    """Three secrets, one with a former value, all under k1; k2 is the newest."""
    for name in ("a", "b", "c"):
        secrets.set_secret(actor=admin, name=name, value=f"value-of-{name}-1")
    secrets.set_secret(actor=admin, name="a", value="value-of-a-2", overlap=3600)
    settings.ENCRYPTION_KEYS = {"k2": key(), **ring}


def test_everything_is_sealed_under_the_newest_key_and_a_second_time_changes_nothing(stocked: None) -> None:
    assert "secret: 3 sealed under k2" in command()
    assert set(Secret.objects.values_list("key_id", flat=True)) == {"k2"}
    assert secrets.reveal_all("a") == ["value-of-a-2", "value-of-a-1"]
    before = list(Secret.objects.values_list("ciphertext", flat=True)), AuditEntry.objects.count()
    assert "secret: 0 sealed under k2" in command()
    assert (list(Secret.objects.values_list("ciphertext", flat=True)), AuditEntry.objects.count()) == before
    entry = AuditEntry.objects.filter(action="keys.rotated").order_by("seq")[0]
    assert (entry.object_id, entry.data) == ("k2", {"column": "secret", "rows": 3})


def test_the_check_says_which_key_is_needed_and_changes_nothing(stocked: None) -> None:
    said = command("--check")
    assert "k2: seals what is written from now on\n" in said
    assert "k1: still needed (3 x secret, 1 x former value)" in said
    assert set(Secret.objects.values_list("key_id", flat=True)) == {"k1"}
    assert "k1: may be dropped from the ring" in command()


def test_without_the_old_key_all_still_opens_after_a_rotation(stocked: None, settings: Any) -> None:
    command()
    settings.ENCRYPTION_KEYS = {"k2": settings.ENCRYPTION_KEYS["k2"]}
    assert secrets.reveal_all("a") == ["value-of-a-2", "value-of-a-1"]
    assert [secrets.reveal(name) for name in "bc"] == ["value-of-b-1", "value-of-c-1"]


def test_a_key_that_is_needed_and_missing_is_said(stocked: None, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = {"k2": settings.ENCRYPTION_KEYS["k2"]}
    with pytest.raises(CommandError, match="Not in the ring, but needed: k1"):
        command("--check")
    with pytest.raises(CommandError, match="4 could not be done"):
        command()
    assert set(Secret.objects.values_list("key_id", flat=True)) == {"k1"}


def test_broken_off_it_goes_on_where_it_was(stocked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "BATCH", 1)
    opened = crypto.open_
    calls = iter(range(99))

    def breaks(data: bytes, *, aad: bytes) -> bytes:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return opened(data, aad=aad)

    monkeypatch.setattr(crypto, "open_", breaks)
    with pytest.raises(KeyboardInterrupt):
        command()
    assert sorted(Secret.objects.values_list("key_id", flat=True)) == ["k1", "k2", "k2"]
    assert "secret: 1 sealed under k2" in command()


def test_who_writes_meanwhile_is_not_overwritten(stocked: None, admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = crypto.open_

    def overtaken(data: bytes, *, aad: bytes) -> bytes:
        plain = opened(data, aad=aad)
        if plain == b"value-of-b-1":
            monkeypatch.setattr(crypto, "open_", opened)
            secrets.set_secret(actor=admin, name="b", value="value-of-b-2")
        return plain

    monkeypatch.setattr(crypto, "open_", overtaken)
    assert "secret: 2 sealed under k2" in command()
    assert secrets.reveal("b") == "value-of-b-2"
    assert set(SecretVersion.objects.exclude(key_id="").values_list("key_id", flat=True)) == {"k2"}


def test_what_no_key_opens_does_not_stop_the_rest(stocked: None) -> None:
    damaged = bytearray(Secret.objects.get(name="b").ciphertext)
    damaged[-1] ^= 1
    Secret.objects.filter(name="b").update(ciphertext=bytes(damaged))
    out = StringIO()
    with pytest.raises(CommandError, match="1 could not be done"):
        call_command("rotate_keys", stdout=out, stderr=out)
    assert "secret of b cannot be opened: set it again." in out.getvalue()
    assert secrets.reveal("c") == "value-of-c-1"
    assert set(Secret.objects.exclude(name="b").values_list("key_id", flat=True)) == {"k2"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ring.json"
    path.write_text(json.dumps({"k2": key(), "k1": key()}))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_ring_comes_from_a_file_that_is_nobody_elses(file: Path, tmp_path: Path, mode: int) -> None:
    file.chmod(mode)
    ring, source = keys.key_ring(tmp_path, file=str(file))
    assert (list(ring), source) == (["k2", "k1"], "file")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o602, 0o777])
def test_a_file_that_others_can_get_at_is_refused(file: Path, tmp_path: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ImproperlyConfigured, match=f"has mode {mode:04o}"):
        keys.key_ring(tmp_path, file=str(file))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", "3", '{"k1": "short"}', '{"k1": 7}', '{"k1": null}', "[" * 100_000,
     json.dumps({"k:1": "A" * 43 + "="}), json.dumps({"": "A" * 43 + "="}), json.dumps({"k" * 33: "A" * 43 + "="}),
     f'{{"k1": "{"A" * 43}=", "k1": "{"B" * 43}="}}'],
)  # fmt: skip
def test_nonsense_for_a_ring_stops_the_start_without_quoting_a_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        keys.key_ring(tmp_path, text)
    assert "AAAA" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_two_rings_at_once_are_refused_and_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="not both"):
        keys.key_ring(tmp_path, "{}", "ring.json")
    with pytest.raises(ImproperlyConfigured, match=r"gone\.json cannot be read: No such file"):
        keys.key_ring(tmp_path, file=str(tmp_path / "gone.json"))


def test_without_either_a_ring_is_made_once(tmp_path: Path) -> None:
    ring, source = keys.key_ring(tmp_path)
    assert (keys.key_ring(tmp_path)[0], source) == (ring, "made")
    assert (tmp_path / "encryption_keys.json").stat().st_mode & 0o777 == 0o600
