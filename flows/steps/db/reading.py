"""The rows of a query: the first ones for the output, all of them for a resource, few at a time in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.steps.db import cells

Json = Any
_BATCH_BYTES = 2 * 1024 * 1024
_MAX_BATCH = 2000
_CHUNK = 64 * 1024


@dataclass(slots=True)
class Rows:
    """What of the rows goes into the output. `count`: all that were read."""

    config: Mapping[str, Json]
    columns: list[str]
    kept: list[dict[str, Json]] = field(default_factory=list)
    count: int = 0
    truncated: bool = False
    _bytes: int = 0

    def take(self, values: Any) -> tuple[dict[str, Json], int]:
        """The row as JSON and its bytes, kept where there is room. Raises TooLong."""
        self.count += 1
        found, size = cells.row(self.columns, values, self.count, self.config["max_cell_bytes"])
        fits = len(self.kept) < self.config["max_rows"] and self._bytes + size <= self.config["max_bytes"]
        if fits and not self.truncated:
            self.kept.append(found)
            self._bytes += size
        else:
            self.truncated = True
        return found, size

    def output(self, resource: Json) -> dict[str, Json]:
        count = self.count if resource is not None else len(self.kept)
        return {
            "columns": self.columns, "rows": self.kept, "row_count": count, "truncated": self.truncated,
            "resource": resource,
        }  # fmt: skip


def first_of(result: Any, rows: Rows) -> None:
    """Read until the output is full, and one row more to know whether there are more."""
    for values, _ in _pieces(result, rows, limit=rows.config["max_rows"] + 1):
        del values
        if rows.truncated:
            break


def lines(result: Any, rows: Rows, told: Callable[[int], None]) -> Iterator[bytes]:
    """All rows as CSV or JSON Lines, in pieces of about 64 KiB."""
    as_csv = rows.config["format"] == "csv"
    held = [cells.csv_line(rows.columns)] if as_csv else []
    size = 0
    for found, length in _pieces(result, rows):
        held.append(cells.csv_line(found.values()) if as_csv else cells.json_line(found))
        size += length
        if size >= _CHUNK:
            yield "".join(held).encode("utf-8", "replace")
            held, size = [], 0
            told(rows.count)
    yield "".join(held).encode("utf-8", "replace")


def _pieces(result: Any, rows: Rows, limit: int | None = None) -> Iterator[tuple[dict[str, Json], int]]:
    """As many rows at once as keep to a few megabytes, judged by those before."""
    batch, read, total = 10, 0, 1
    while limit is None or read < limit:
        fetched = result.fetchmany(batch if limit is None else min(batch, limit - read))
        if not fetched:
            return
        for values in fetched:
            found, size = rows.take(values)
            read, total = read + 1, total + size
            yield found, size
        batch = max(1, min(_MAX_BATCH, batch * 4, _BATCH_BYTES * read // total))
