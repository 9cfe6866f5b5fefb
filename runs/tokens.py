"""The token of a wait: known before the wait opens, checked without a lookup.

`<run>-<step's number in the plan>-<item>-<pass>-<mac>`; the MAC (HMAC-SHA256, 100 bits, base 32) is over the rest.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

_MAC_LENGTH = 20


@dataclass(frozen=True, slots=True)
class WaitAddress:
    run_id: str
    step_index: int
    item: int
    pass_no: int


@lru_cache(maxsize=1)
def _key() -> bytes:
    return hashlib.sha256(b"orchestra wait token" + settings.SECRET_KEY.encode()).digest()


def _mac(text: str) -> str:
    digest = hmac.new(_key(), text.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower()[:_MAC_LENGTH]


def make(run_id: str, step_index: int, item: int, pass_no: int) -> str:
    """The token of one pass of one step run; at most 64 characters."""
    text = f"{run_id}-{step_index}-{item if item >= 0 else 'x'}-{pass_no}"
    return f"{text}-{_mac(text)}"


def read(token: str) -> WaitAddress | None:
    """What a token says, or None when it is not one of ours."""
    text, _, mac = token.rpartition("-")
    parts = text.split("-")
    if len(parts) != 4 or not token.isascii() or not hmac.compare_digest(mac, _mac(text)):
        return None
    run_id, index, item, pass_no = parts
    return WaitAddress(run_id, int(index), -1 if item == "x" else int(item), int(pass_no))
