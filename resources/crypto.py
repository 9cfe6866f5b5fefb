"""AES-256-GCM for values at rest, bound to the place they are kept in.

Sealed: one byte length of the key id, key id, 12 random bytes, ciphertext with its tag. The associated data names
table, row and field, so that a value moved to another row does not open.
"""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from resources.errors import OrchestraError

_NONCE = 12


class CannotDecrypt(OrchestraError):
    """The key is gone from the ring, or the stored value was changed or moved."""

    code = "cannot_decrypt"
    status = 500


class KeyMissing(CannotDecrypt):
    """The value is as it was written, for all that is known: whoever puts the key back can read it."""


def place(table: str, row: str, *rest: str) -> bytes:
    """The associated data of one field of one row: (table, row, field), or (table, row, part of it, field).

    Raises ValueError for a name that could pass for two.
    """
    parts = (table, row, *rest)
    if any(":" in part for part in parts):
        raise ValueError("a colon separates the parts of a place")
    return f"orchestra:{':'.join(parts)}".encode()


def seal(plain: bytes, *, aad: bytes) -> bytes:
    """Encrypt under the newest key of settings.ENCRYPTION_KEYS."""
    key_id = next(iter(settings.ENCRYPTION_KEYS))
    name = key_id.encode()
    nonce = os.urandom(_NONCE)
    header = bytes([len(name)]) + name
    return header + nonce + _cipher(key_id).encrypt(nonce, plain, header + aad)


def open_(sealed: bytes, *, aad: bytes) -> bytes:
    """What was sealed at this place, under whichever key of the ring. Raises CannotDecrypt."""
    key_id = key_id_of(sealed)
    split = 1 + sealed[0]
    header, nonce, body = sealed[:split], sealed[split : split + _NONCE], sealed[split + _NONCE :]
    try:
        return _cipher(key_id).decrypt(nonce, body, header + aad)
    except (InvalidTag, ValueError) as error:
        raise CannotDecrypt("A stored secret was changed or moved.", hint="Set the secret again.") from error


def key_id_of(sealed: bytes) -> str:
    """Which key of the ring opens it. Raises CannotDecrypt when this is no sealed value."""
    if not sealed or len(sealed) < 1 + sealed[0] + _NONCE:
        raise CannotDecrypt("A stored secret is damaged.", hint="Set the secret again.")
    return sealed[1 : 1 + sealed[0]].decode(errors="replace")


def _cipher(key_id: str) -> AESGCM:
    key = settings.ENCRYPTION_KEYS.get(key_id)
    if key is None:
        raise CannotDecrypt(
            f"The encryption key {key_id} is not in the key ring.",
            hint="Put it back into ENCRYPTION_KEYS, behind the newest one.",
        )
    return AESGCM(base64.b64decode(key))
