"""Reads UPLOAD_LIMITS: how large uploads of each type may be."""

from __future__ import annotations

import re
from typing import Final

from django.core.exceptions import ImproperlyConfigured

_PAIR: Final = re.compile(r"\s*([a-z0-9.+*-]+/[a-z0-9.+*-]+)\s*=\s*(\d{1,15})\s*")


def limits(text: str) -> dict[str, int]:
    """`image/*=20000000,text/csv=0` as {type: bytes}. Raises ImproperlyConfigured."""
    found = {}
    for pair in filter(str.strip, text.split(",")):
        match = _PAIR.fullmatch(pair)
        if match is None:
            raise ImproperlyConfigured(
                f"UPLOAD_LIMITS: {pair.strip()!r} is not such as image/*=20000000 (bytes; 0: none)."
            )
        found[match[1]] = int(match[2])
    return found
