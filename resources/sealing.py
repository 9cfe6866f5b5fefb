"""Encryption of resources at rest: AES-256-GCM in frames, so that any size is sealed and opened in little memory.

Sealed: a header (mark, length of the key id, key id, 32 random bytes), then frames of 64 KiB and their tags. Every file
has a key of its own, derived from the ring's key and the random bytes; so a counter is a nonce that never repeats.
The associated data of a frame is the SHA-256 of the whole and the frame's number, and the last one is marked: frames
moved, left out or cut off do not open.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from resources.crypto import CannotDecrypt
from resources.filestore import Readable, store

FRAME: Final = 64 * 1024
TAG: Final = 16
_MARK: Final = b"ORES1"
_SALT: Final = 32


def current_key() -> str:
    """The id of the ring's newest key, or "" where resources are not encrypted."""
    return newest_key() if settings.ENCRYPT_RESOURCES else ""


def newest_key() -> str:
    return next(iter(settings.ENCRYPTION_KEYS))


def header_length(key_id: str) -> int:
    return len(_MARK) + 1 + len(key_id.encode()) + _SALT


def sealed_length(size: int, key_id: str) -> int:
    """Bytes in the storage of `size` plain ones."""
    frames = max(1, -(-size // FRAME))
    return header_length(key_id) + size + frames * TAG


def seal(source: Readable, *, size: int, sha256: str, key_id: str) -> Iterator[bytes]:
    """The sealed bytes of the `size` bytes of `source`. Raises CannotDecrypt where the key is not in the ring."""
    salt, name = os.urandom(_SALT), key_id.encode()
    cipher, last = _cipher(key_id, salt), max(1, -(-size // FRAME)) - 1
    yield _MARK + bytes([len(name)]) + name + salt
    for index in range(last + 1):
        yield cipher.encrypt(_nonce(index, index == last), source.read(FRAME), _place(sha256, index))


def opened(key: str, *, size: int, sha256: str, key_id: str, start: int = 0) -> Iterator[bytes]:
    """The plain bytes from `start` on, frame by frame. Raises CannotDecrypt, OSError."""
    header = store().stream(key)
    try:
        head = _read(header, header_length(key_id))
    finally:
        header.close()
    if not head.startswith(_MARK) or len(head) != header_length(key_id):
        raise _changed()
    cipher, last = _cipher(key_id, head[-_SALT:]), max(1, -(-size // FRAME)) - 1
    first = min(start // FRAME, last)
    source = store().stream(key, len(head) + first * (FRAME + TAG))
    try:
        for index in range(first, last + 1):
            plain = _open(cipher, _read(source, FRAME + TAG), sha256, index, index == last)
            yield plain[start - first * FRAME :] if index == first else plain
    finally:
        source.close()


def _open(cipher: AESGCM, frame: bytes, sha256: str, index: int, final: bool) -> bytes:
    try:
        return cipher.decrypt(_nonce(index, final), frame, _place(sha256, index))
    except (InvalidTag, ValueError) as error:
        raise _changed() from error


def _changed() -> CannotDecrypt:
    return CannotDecrypt("A stored resource was changed or cut off.", hint="Restore the files from a backup.")


def _nonce(index: int, final: bool) -> bytes:
    return index.to_bytes(11, "big") + bytes([final])


def _place(sha256: str, index: int) -> bytes:
    return f"{sha256}:{index}".encode()


def _cipher(key_id: str, salt: bytes) -> AESGCM:
    key = settings.ENCRYPTION_KEYS.get(key_id)
    if key is None:
        raise CannotDecrypt(
            f"The encryption key {key_id} is not in the key ring.",
            hint="Put it back into ENCRYPTION_KEYS, behind the newest one.",
        )
    derived = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"orchestra:resource")
    return AESGCM(derived.derive(base64.b64decode(key)))


def _read(source: Readable, size: int) -> bytes:
    """`size` bytes, or fewer at the end."""
    parts, left = [], size
    while left and (part := source.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
