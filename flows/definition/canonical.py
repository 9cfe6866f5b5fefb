"""One byte form of an action (RFC 8785) and its digest: what a reviewer approves. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from flows.definition.jsonguard import check_json

Json = Any
_EXACT = 1 << 53  # beyond, a number has no single form in JSON: it is written as a text of its digits
MAX_ACTION_BYTES = 4 * 1024 * 1024


def canonical_bytes(value: Json) -> bytes:
    """RFC 8785 bytes; integers beyond ±2^53 as texts. Raises JsonError for what is not JSON."""
    check_json(value, max_depth=70, max_bytes=MAX_ACTION_BYTES)
    return rfc8785.dumps(_exact(value))


def digest(value: Json) -> str:
    """SHA-256 of the canonical bytes, in hex."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def _exact(value: Json) -> Json:
    if isinstance(value, dict):
        return {k: _exact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_exact(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT - 1:
        return str(value)
    return value
