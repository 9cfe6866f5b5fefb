"""What runs keep in the database, sealed at rest where ENCRYPT_PAYLOADS says so: the one codec of all such columns.

Sealed, as text: `sealed:1:<key id>:<tag>:<base64>` of 16 bytes of salt, 12 bytes of nonce, ciphertext and its tag.
AES-256-GCM under a key derived from the ring's key and the salt; the associated data is the header, the table, the
column and the row, so that a value copied elsewhere does not open. `sealed:0:` is bound to its column only.

Every process seals under a salt of its own, and takes a new one after 2**24 values: random nonces of 96 bits are
good for 2**32 values of one key, which an installation may write in a week.

The tag stays readable, for what the database itself has to find: the kind of a run's trigger, and `/res` where the
text names a resource. What is not sealed is read as it is: both may stand side by side in a column.
"""

from __future__ import annotations

import base64
import json
import os
import re
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from resources.crypto import CannotDecrypt, KeyMissing
from resources.jsontext import dumps

Json = Any
BOUND: Final = "sealed:1:"  # to its row
LOOSE: Final = "sealed:0:"  # to its column
MARKS: Final = (BOUND, LOOSE)
NAMES_RESOURCE: Final = "/res"
MARK_LENGTH: Final = len(BOUND)
#: between the parts of a row's name: none of them has it
_BETWEEN: Final = "\x1f"
_SALT: Final = 16
_NONCE: Final = 12
_MOST: Final = 2**24  # values under one salt
#: say nothing, and are what most of the small columns hold
EMPTY: Final = frozenset({"", "{}", "[]"})
_WORD: Final = re.compile(r"[a-z_]{1,32}")


class Sealed(str):
    """A column's text that is sealed: on its way to the database, or not opened yet."""

    __slots__ = ()


def is_sealed(text: str) -> bool:
    return text.startswith(MARKS)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of payloads. `row`: the names of the fields that name its row, all known before it is inserted.

    `tag`: the key of its JSON whose value, a word of ours, stays readable.
    """

    table: str
    name: str
    row: tuple[str, ...]
    tag: str = ""
    _place: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_place", f":orchestra:{self.table}.{self.name}:")

    # -- JSON, for hand-written SQL --------------------------------------------------------------------------
    def dump(self, value: Json, *row: object) -> str:
        """JSON text for the column, sealed where payloads are. Raises as `dumps`."""
        text = dumps(value)
        return self.seal(text, row, self.tag_of(value)) if settings.ENCRYPT_PAYLOADS else text

    def dump_null(self, value: Json, *row: object) -> str | None:
        """As `dump`; None is NULL."""
        return None if value is None else self.dump(value, *row)

    def load(self, text: str, *row: object) -> Json:
        """What `dump` was given. Raises CannotDecrypt."""
        return json.loads(text if text[:1] != "s" else self.open(text, row))  # no JSON begins with an s

    def load_null(self, text: str | None, *row: object) -> Json:
        return None if text is None else self.load(text, *row)

    def tag_of(self, value: Json) -> str:
        found = value.get(self.tag) if self.tag and isinstance(value, dict) else None
        return found if isinstance(found, str) and _WORD.fullmatch(found) else ""

    # -- text ------------------------------------------------------------------------------------------------
    def seal(self, text: str, row: Sequence[object] | None, tag: str = "") -> str:
        """`row`: its values; None where they are not known."""
        if text in EMPTY:
            return text
        return self.seal_bytes(text.encode(), row, tag + NAMES_RESOURCE if "res://" in text else tag)

    def open(self, text: str, row: Sequence[object]) -> str:
        """The plain text, also of one that is not sealed. Raises CannotDecrypt."""
        return self.open_bytes(text, row).decode() if text.startswith(MARKS) else text

    # -- bytes -----------------------------------------------------------------------------------------------
    def seal_bytes(self, plain: bytes, row: Sequence[object] | None, tag: str = "") -> str:
        now = _current()
        header = f"{LOOSE if row is None else BOUND}{now.key_id}:{tag}:"
        nonce = os.urandom(_NONCE)
        body = now.cipher.encrypt(nonce, plain, self._bound(header, row))
        return header + b2a_base64(now.salt + nonce + body, newline=False).decode("ascii")

    def open_bytes(self, sealed: str, row: Sequence[object]) -> bytes:
        """Raises KeyMissing, or CannotDecrypt where the value was changed or stood elsewhere."""
        mark, key_id, tag, body = split(sealed)
        key = _key(key_id)
        bound = self._bound(f"{mark}{key_id}:{tag}:", None if mark == LOOSE else row)
        try:
            raw = a2b_base64(body, strict_mode=True)
            nonce, text = raw[_SALT : _SALT + _NONCE], raw[_SALT + _NONCE :]
            return _derived(key, raw[:_SALT]).decrypt(nonce, text, bound)
        except (InvalidTag, NotBase64, ValueError) as error:
            raise CannotDecrypt(
                f"A stored value ({self.table}.{self.name}) was changed or moved.", hint="Restore it from a backup."
            ) from error

    def _bound(self, header: str, row: Sequence[object] | None) -> bytes:
        name = "" if row is None else _BETWEEN.join(["" if v is None else str(v) for v in row])
        return f"{header}{self._place}{name}".encode()


def split(sealed: str) -> tuple[str, str, str, str]:
    """(mark, key id, tag, base64)."""
    key_id, _, rest = sealed[MARK_LENGTH:].partition(":")
    tag, _, body = rest.partition(":")
    return sealed[:MARK_LENGTH], key_id, tag, body


# -- keys ------------------------------------------------------------------------------------------------------
def _key(key_id: str) -> str:
    key = settings.ENCRYPTION_KEYS.get(key_id)
    if key is None:
        raise KeyMissing(
            f"The encryption key {key_id} is not in the key ring.",
            hint="Put it back into ENCRYPTION_KEYS, behind the newest one.",
        )
    return str(key)


@lru_cache(maxsize=4096)
def _derived(key: str, salt: bytes) -> AESGCM:
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"orchestra:payload")
    return AESGCM(hkdf.derive(base64.b64decode(key)))


@dataclass(slots=True)
class _Sealing:
    """What this process seals with. Two threads that count the same value do no harm."""

    key_id: str
    key: str
    salt: bytes
    cipher: AESGCM
    left: int = _MOST


_sealing: _Sealing | None = None


def _current() -> _Sealing:
    global _sealing
    now = _sealing
    key_id, key = next(iter(settings.ENCRYPTION_KEYS.items()))
    if now is None or now.left <= 0 or now.key_id != key_id or now.key != key:
        salt = os.urandom(_SALT)
        now = _sealing = _Sealing(key_id, key, salt, _derived(key, salt))
    now.left -= 1
    return now


def _forget() -> None:
    """A forked process takes a salt of its own."""
    global _sealing
    _sealing = None


os.register_at_fork(after_in_child=_forget)
