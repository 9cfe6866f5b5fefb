"""Values of a database as JSON, as they are documented in docs/db.md. Pure."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

Json = Any
_INT64 = 1 << 63
_NONE = type(None)
#: what a cell of CSV is quoted for; an empty one, too
_QUOTED = re.compile(r'[,"\r\n]|^\s|\s\Z|^\Z')


class TooLong(Exception):
    """A value has more bytes than allowed; the message says which."""


def columns_of(keys: Iterable[str]) -> list[str]:
    """Names of columns, a repeated one numbered: n, n_2."""
    names: list[str] = []
    for key in keys:
        name, number = key, 1
        while name in names:
            number += 1
            name = f"{key}_{number}"
        names.append(name)
    return names


def row(columns: Sequence[str], values: Sequence[Any], number: int, max_cell_bytes: int) -> tuple[dict[str, Json], int]:
    """(the row as an object, about how many bytes it has). `number`: from 1. Raises TooLong."""
    found, total = {}, 2
    for name, value in zip(columns, values, strict=True):
        cell = value if type(value) is str or type(value) is _NONE else to_json(value)
        size = len(cell) if type(cell) is str and cell.isascii() else _size(cell)
        if size > max_cell_bytes:
            raise TooLong(f"The column {name} of row {number} has {size} bytes; {max_cell_bytes} are allowed.")
        found[name] = cell
        total += size + len(name) + 6
    return found, total


def _size(cell: Json) -> int:
    if isinstance(cell, str):
        return len(cell.encode("utf-8", "replace"))
    return len(json.dumps(cell)) if isinstance(cell, dict | list) else 8


def to_json(value: Any) -> Json:
    if type(value) is int and -_INT64 <= value < _INT64:  # most there are
        return value
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -_INT64 <= value < _INT64 else str(value)
        case float():
            return value if math.isfinite(value) else str(value).replace("inf", "Infinity").replace("nan", "NaN")
        case Decimal() | uuid.UUID():
            return str(value)
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return duration(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case dict():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_json(item) for item in value]
    return str(value)


def duration(value: dt.timedelta) -> str:
    """ISO 8601, as in P1DT2H3M4.5S."""
    sign, value = ("-", -value) if value < dt.timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    rest = f"{seconds}" + (f".{value.microseconds:06d}".rstrip("0") if value.microseconds else "")
    return f"{sign}P{value.days}DT{hours}H{minutes}M{rest}S"


def csv_line(cells: Iterable[Json]) -> str:
    """RFC 4180. NULL is nothing, an empty text is two quotation marks. Nothing is changed to suit a spreadsheet."""
    return ",".join(_csv(cell) for cell in cells) + "\r\n"


def _csv(cell: Json) -> str:
    if cell is None:
        return ""
    if type(cell) is int:
        return str(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    text = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, separators=(",", ":"))
    if _QUOTED.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def json_line(found: dict[str, Json]) -> str:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n"
