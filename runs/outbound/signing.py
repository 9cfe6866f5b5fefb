"""The Standard Webhooks scheme (v1, symmetric): which bytes are signed, with which keys. Pure.

https://www.standardwebhooks.com: HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`, base64, prefix `v1,`;
the key is the base64 behind `whsec_`. While a key is being changed, both keys sign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
#: bytes of a key; the scheme asks for this range
SHORTEST, LONGEST = 24, 64


def new_secret(random: bytes) -> str:
    """`random`: 24 to 64 bytes."""
    return PREFIX + base64.b64encode(random).decode()


def key_of(secret: str) -> bytes:
    """The key's bytes. Raises ValueError, with a sentence, for what is no such secret."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"A signing secret begins with {PREFIX}.")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"Behind {PREFIX} comes base64.") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"The key behind {PREFIX} has {SHORTEST} to {LONGEST} bytes.")
    return key


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


def headers(secrets: Iterable[str], message_id: str, now: float, body: bytes) -> dict[str, str]:
    """`secrets`: the newest first; each gives a signature."""
    timestamp = int(now)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(s, message_id, timestamp, body) for s in secrets),
    }
