"""How JSON is written into columns. Pure."""

from __future__ import annotations

import json
from typing import Any

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: Any) -> str:
    """Compact JSON text, NaN and infinity refused (ValueError): what every JSON column holds.

    Readable UTF-8, but for text no UTF-8 can hold (a lone surrogate, legal in JSON): that is escaped whole.
    """
    text = _ENCODER.encode(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text
