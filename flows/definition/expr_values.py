"""What an expression gives -> JSON: one form for each value, in one order."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flows.definition.jsonguard import JsonError

Json = Any


def to_json(value: Any, depth: int = 0) -> Json:
    """JSON of an evaluated value. Raises JsonError for what JSON does not have.

    Times become RFC 3339 in UTC, durations a text of seconds (`5400s`), keys texts; mappings are sorted.
    """
    if depth > 64:
        raise JsonError("the value is nested deeper than 64 levels")
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, list):
        return [to_json(v, depth + 1) for v in value]
    if isinstance(value, dict):
        return dict(sorted((_key(k), to_json(v, depth + 1)) for k, v in value.items()))
    if isinstance(value, dt.datetime):
        return _moment(value)
    if isinstance(value, dt.timedelta):
        return _seconds(value)
    if isinstance(value, (bytes, bytearray)):
        raise JsonError("it is bytes; use base64.encode(…)")
    raise JsonError("it is a type, not a value")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    return str(key).lower() if isinstance(key, bool) else str(key)


def _moment(value: dt.datetime) -> str:
    text = value.astimezone(dt.UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def _seconds(value: dt.timedelta) -> str:
    micro = value // dt.timedelta(microseconds=1)
    whole, rest = divmod(abs(micro), 1_000_000)
    sign = "-" if micro < 0 else ""
    return f"{sign}{whole}{f'.{rest:06}'.rstrip('0') if rest else ''}s"
