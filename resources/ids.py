"""Identifiers that sort by time (ULID: 48 bits of milliseconds, 80 random bits, Crockford base 32)."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def ulid(now: float | None = None, entropy: int | None = None) -> str:
    """26 lower-case characters; unique without coordination, ordered by creation time.

    Source of the format: github.com/ulid/spec. `now`: epoch seconds; `entropy`: 80 bits.
    """
    millis = int((time.time() if now is None else now) * 1000) & (2**48 - 1)
    number = (millis << 80) | (secrets.randbits(80) if entropy is None else entropy)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def new_id() -> str:
    return ulid()
