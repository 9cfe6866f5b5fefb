"""Secrets are sealed to their place, never shown, and masked wherever they turn up."""

from __future__ import annotations

import base64
import json
import os
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources import audit, connections, crypto, secrets
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.masking import MASK, Masker
from resources.models import AuditEntry, Secret

pytestmark = pytest.mark.db_matrix

PLACE = crypto.place("t", "1", "f")


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def test_what_is_sealed_opens_at_its_place_only() -> None:
    sealed = crypto.seal(b"value", aad=PLACE)
    assert b"value" not in sealed
    assert crypto.open_(sealed, aad=PLACE) == b"value"
    for other in (("t", "2", "f"), ("u", "1", "f"), ("t", "1", "g")):
        with pytest.raises(crypto.CannotDecrypt):
            crypto.open_(sealed, aad=crypto.place(*other))


def test_any_changed_byte_is_noticed() -> None:
    sealed = crypto.seal(b"value", aad=PLACE)
    for position in range(len(sealed)):
        broken = bytearray(sealed)
        broken[position] ^= 1
        with pytest.raises(crypto.CannotDecrypt):
            crypto.open_(bytes(broken), aad=PLACE)
    for length in range(len(sealed)):
        with pytest.raises(crypto.CannotDecrypt):
            crypto.open_(sealed[:length], aad=PLACE)


def test_a_place_cannot_pass_for_another() -> None:
    with pytest.raises(ValueError, match="colon"):
        crypto.place("t", "1:f", "g")


def test_keys_rotate_new_values_take_the_newest_old_ones_still_open(settings: Any) -> None:
    old = key()
    settings.ENCRYPTION_KEYS = {"k1": old}
    sealed = crypto.seal(b"value", aad=PLACE)
    settings.ENCRYPTION_KEYS = {"k2": key(), "k1": old}
    assert crypto.open_(sealed, aad=PLACE) == b"value"
    assert crypto.key_id_of(crypto.seal(b"value", aad=PLACE)) == "k2"
    settings.ENCRYPTION_KEYS = {"k2": key()}
    with pytest.raises(crypto.CannotDecrypt, match="k1"):
        crypto.open_(sealed, aad=PLACE)


def test_setting_twice_makes_a_new_version(admin: Actor) -> None:
    assert secrets.set_secret(actor=admin, name="github-hook", value="first-value-1234").version == 1
    assert secrets.set_secret(actor=admin, name="github-hook", value="second-value-9876").version == 2
    assert secrets.reveal("github-hook") == "second-value-9876"
    assert [e.action for e in AuditEntry.objects.order_by("seq")] == ["secret.created", "secret.rotated"]
    assert all("value" not in json.dumps(e.data) for e in AuditEntry.objects.all())
    with pytest.raises(Conflict) as caught:
        secrets.set_secret(actor=admin, name="github-hook", value="third", new=True)
    assert caught.value.stable_code == "secret_exists"
    assert secrets.reveal("github-hook") == "second-value-9876"


@pytest.mark.parametrize(("value", "hint"), [("12345678901", ""), ("123456789012", "9012")])
def test_only_long_values_show_their_end(admin: Actor, value: str, hint: str) -> None:
    assert secrets.set_secret(actor=admin, name="s", value=value).last4 == hint


def test_a_row_moved_to_another_name_does_not_open(admin: Actor) -> None:
    secrets.set_secret(actor=admin, name="low", value="low-value")
    secrets.set_secret(actor=admin, name="high", value="high-value")
    Secret.objects.filter(name="low").update(ciphertext=Secret.objects.get(name="high").ciphertext)
    with pytest.raises(crypto.CannotDecrypt):
        secrets.reveal("low")


@pytest.mark.parametrize("name", ["", "1a", "a b", "a:b", "a/b", "ä", "a" * 65, "a\n"])
def test_names_that_could_be_mistaken_are_refused(admin: Actor, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        secrets.set_secret(actor=admin, name=name, value="value")
    assert caught.value.details[0]["path"] == "name"


@pytest.mark.parametrize("value", ["", "x" * 65537, "\ud800"])
def test_values_out_of_bounds_are_refused(admin: Actor, value: str) -> None:
    with pytest.raises(BadInput) as caught:
        secrets.set_secret(actor=admin, name="s", value=value)
    assert caught.value.details[0]["path"] == "value"


def test_only_admins_write_and_nothing_half_happens(author: Actor) -> None:
    with pytest.raises(NotAllowed):
        secrets.set_secret(actor=author, name="s", value="value")
    with pytest.raises(NotAllowed):
        secrets.delete_secret(actor=author, name="s")
    assert not Secret.objects.exists()
    assert audit.head()[0] == 0


def test_a_secret_in_use_is_not_deleted(admin: Actor) -> None:
    secrets.set_secret(actor=admin, name="token", value="value")
    settings = {"base_url": "https://api.example.com", "auth": {"type": "bearer", "secret": "token"}}
    connections.create_connection(actor=admin, name="ci", kind="http", settings=settings)
    with pytest.raises(Conflict) as caught:
        secrets.delete_secret(actor=admin, name="token")
    assert (caught.value.stable_code, caught.value.details) == ("in_use", ["connection ci"])
    connections.delete_connection(actor=admin, name="ci")
    secrets.delete_secret(actor=admin, name="token")
    for gone in (lambda: secrets.reveal("token"), lambda: secrets.delete_secret(actor=admin, name="token")):
        with pytest.raises(NotFound):
            gone()


VALUES = st.text(min_size=4, max_size=40).filter(lambda text: text.isprintable() or "\n" in text)


@given(VALUES, st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_a_longer_value_hides_the_secret_within(value: str, before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + value.encode(errors="replace") + after).decode()
    masked = Masker([value]).text(f"Basic {text}!")
    assert MASK in masked
    assert text not in masked


@given(VALUES)
def test_every_form_is_hidden(value: str) -> None:
    masker = Masker([value])
    for text in (value, quote(value, safe="", errors="replace"), json.dumps({"v": value})):
        assert MASK in masker.text(f"<{text}>")
    assert value not in masker.text(f"<{value}>{value}")


def test_trees_are_masked_in_texts_keys_and_numbers() -> None:
    masker = Masker(["hunter22", "12345678"])
    tree = {"hunter22": ["a hunter22 b", 12345678, 1.5, True, None], "n": {"x": ("hunter22",)}}
    assert masker.tree(tree) == {MASK: [f"a {MASK} b", MASK, 1.5, True, None], "n": {"x": [MASK]}}


def test_overlapping_finds_leave_nothing_between_them() -> None:
    assert Masker(["abcdef", "defghi"]).text("xabcdefghix") == f"x{MASK}x"
    assert Masker(["aaaa"]).text("aaaaaa!") == f"{MASK}!"


def test_short_values_are_not_masked() -> None:
    assert Masker(["abc", ""]).text("abc abc") == "abc abc"
