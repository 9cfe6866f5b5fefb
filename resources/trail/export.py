"""The audit log as a file, and that file checked without the database: each line keeps its hash and the one before.

JSON Lines: one entry a line. CSV: the same fields as columns, `data` as JSON. Oldest first. A cell of CSV that a
spreadsheet would take for a formula begins with an apostrophe, and so does one that begins with one; reading takes
one away.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal

from django.db.models import QuerySet

from resources import audit
from resources.errors import BadInput
from resources.models import AuditEntry

Format = Literal["jsonl", "csv"]
TYPES: Final[dict[str, str]] = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}
FIELDS: Final = (
    "seq", "at", "actor", "actor_kind", "address", "action", "object_type", "object_id", "data",
    "previous_hash", "hash",
)  # fmt: skip
#: entries read at once
BATCH: Final = 500
#: characters of one cell that are read: what an entry says is bounded far below
MAX_CELL: Final = 16 * 1024 * 1024
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "'")


def fields(entry: AuditEntry) -> dict[str, Any]:
    """All that its hash covers, and the hash. `at`: RFC 3339 in UTC with microseconds."""
    found = {name: getattr(entry, name) for name in FIELDS}
    return {**found, "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}


def pieces(rows: QuerySet[AuditEntry], kind: Format) -> Iterator[bytes]:
    """The file in pieces of BATCH entries, in keyset pages: no cursor stays open while a slow client reads."""
    if kind == "csv":
        yield _table([FIELDS])
    last = 0
    while found := audit.read(rows.filter(seq__gt=last).order_by("seq")[:BATCH]):
        yield _table(map(_cells, found)) if kind == "csv" else b"".join(map(_line, found))
        last = found[-1].seq


def _line(entry: AuditEntry) -> bytes:
    return json.dumps(fields(entry), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _cells(entry: AuditEntry) -> list[str]:
    values = {**fields(entry), "data": json.dumps(entry.data, separators=(",", ":"), allow_nan=False)}
    return [f"'{text}" if text.startswith(_FORMULA) else text for text in (str(values[name]) for name in FIELDS)]


def _table(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def read(file: Iterable[str]) -> Iterator[AuditEntry]:
    """The entries of an export (opened with newline=""), not saved. CSV is known by its header.

    Raises BadInput `bad_export`, which names the entry, for what is none.
    """
    lines = iter(file)
    first = next(lines, "")
    if first.rstrip("\r\n") == ",".join(FIELDS):
        yield from _of_csv(lines)
        return
    for number, line in enumerate(_with(first, lines), 1):
        try:
            yield _entry(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise _unreadable(number) from error


def _with(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _of_csv(lines: Iterator[str]) -> Iterator[AuditEntry]:
    csv.field_size_limit(MAX_CELL)
    rows = csv.reader(lines, strict=True)
    number = 0
    while True:
        number += 1
        try:
            row = next(rows, None)
            if row is None:
                return
            values: dict[str, Any] = dict(zip(FIELDS, (text.removeprefix("'") for text in row), strict=True))
            found = _entry({**values, "seq": int(values["seq"]), "data": json.loads(values["data"])})
        except (ValueError, TypeError, csv.Error, RecursionError) as error:
            raise _unreadable(number) from error
        yield found


def _entry(values: dict[str, Any]) -> AuditEntry:
    if set(values) != set(FIELDS) or type(values["seq"]) is not int:
        raise ValueError("not the fields of an entry")
    at = datetime.fromisoformat(values["at"])
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return AuditEntry(**{**values, "at": at})


def _unreadable(number: int) -> BadInput:
    message = f"Entry {number} of the file cannot be read."
    return BadInput(message, code="bad_export", hint="It was cut off, or is no export of an audit log.")
