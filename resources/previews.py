"""What a page shows of a resource: bounded, as text the page escapes, or as an image from a route of its own."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field, replace
from typing import Final

from resources import artifacts, images, veiling
from resources.artifacts import PREVIEW_BYTES
from resources.models import Artifact
from resources.serve import IMAGES

ROWS: Final = 100
COLUMNS: Final = 50
CELL: Final = 200
HEAD: Final = 512
#: bytes of a table that are read for its first rows
TABLE: Final = 256 * 1024
#: bytes of an image that a page shows
MOST_IMAGE: Final = 20 * 1024 * 1024
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


@dataclass(frozen=True, slots=True)
class Shown:
    """kind: json | text | log (its end) | table | image | large image (`text`: its measures) | binary (hexadecimal).
    `cut`: there is more."""

    kind: str
    text: str = ""
    cut: bool = False
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def show(row: Artifact) -> Shown:
    """Without what is sensitive in its run. Raises ArtifactDamaged, CannotDecrypt, OSError."""
    veiled = veiling.content_of(row)
    if veiled is not None:
        return _masked(veiled.data)
    shade = veiling.of_run(row.run_id)
    found = _show(row)
    rows = [[shade.text(cell) for cell in cells] for cells in found.rows]
    return replace(found, text=shade.text(found.text), header=[shade.text(cell) for cell in found.header], rows=rows)


def _masked(data: bytes | None) -> Shown:
    if data is None:
        return Shown("text", "[sensitive]")
    found = artifacts.preview_of(data, "application/json", cut=len(data) > PREVIEW_BYTES)
    return Shown(found.kind, strip(found.text), found.truncated)


def _show(row: Artifact) -> Shown:
    if row.media in IMAGES:
        return _image(row)
    if row.media in ("text/csv", "text/tab-separated-values"):
        return _table(row)
    if row.name.endswith(".log") or row.media == "text/x-log":
        return _log(row)
    found = artifacts.preview(row)
    if found.kind != "binary":
        return Shown(found.kind, strip(found.text), found.truncated)
    return Shown("binary", _dump(_read(row, 0, HEAD)), row.size > HEAD)


def _image(row: Artifact) -> Shown:
    """Itself, unless a browser would need more memory for it than anybody wants to give."""
    size = images.size_of(row.media, _read(row, 0, images.HEAD))
    if size is None:
        return Shown("binary", _dump(_read(row, 0, HEAD)), row.size > HEAD)
    if row.size <= MOST_IMAGE and size[0] * size[1] <= images.MOST_PIXELS:
        return Shown("image")
    return Shown("large image", f"{size[0]} × {size[1]} pixels")


def strip(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(c for c in _ANSI.sub("", text) if c in "\n\t" or c.isprintable() or c == "\ufffd")


def _read(row: Artifact, start: int, size: int) -> bytes:
    with artifacts.open_row(row, start) as file:
        return file.read(size)


def _table(row: Artifact) -> Shown:
    text = _read(row, 0, TABLE).decode("utf-8-sig", errors="replace").replace("\0", "")
    whole = row.size <= TABLE
    if not whole:
        text = text.rpartition("\n")[0]
    tab = row.media == "text/tab-separated-values"
    found: list[list[str]] = []
    wide = False
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tab else ","):
            found.append([strip(cell[:CELL]) for cell in cells[:COLUMNS]])
            wide |= len(cells) > COLUMNS or any(len(cell) > CELL for cell in cells)
            if len(found) > ROWS + 1:
                break
    except csv.Error:  # a cell longer than this process reads at present: what came before it is shown
        whole = False
    header, rows = (found[0], found[1 : ROWS + 1]) if found else ([], [])
    return Shown("table", "", wide or not whole or len(found) > ROWS + 1, header, rows)


def _log(row: Artifact) -> Shown:
    start = max(0, row.size - PREVIEW_BYTES)
    text = _read(row, start, PREVIEW_BYTES).decode(errors="replace")
    if start:
        text = text.partition("\n")[2] or text
    return Shown("log", strip(text.replace("\r\n", "\n").replace("\r", "\n")), start > 0)


def _dump(data: bytes) -> str:
    lines = []
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        seen = "".join(chr(b) if 32 <= b < 127 else "." for b in piece)
        lines.append(f"{at:08x}  {piece.hex(' '):<47}  {seen}")
    return "\n".join(lines)
