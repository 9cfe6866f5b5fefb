"""Sends a resource: in pieces, any range of it, as somebody else's data that no browser runs inside our origin."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.text import get_valid_filename

from resources import artifacts, veiling
from resources.errors import NotAllowed
from resources.models import Artifact

#: types that a browser shows without running anything of theirs; never SVG, never HTML
IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
INLINE: Final = IMAGES | {"text/plain", "application/json", "text/csv"}
_PLAIN: Final = INLINE | {"application/pdf"}
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def respond(request: HttpRequest, row: Artifact, *, inline: bool = False) -> HttpResponseBase:
    """200, 206 for one range, 304 for an ETag that the client has, 416. `inline`: shown, where its type is safe.

    Raises ArtifactDamaged, CannotDecrypt, OSError, NotAllowed `sensitive`.
    """
    veiled = veiling.content_of(row)
    if veiled is not None:
        return _masked(row, veiled, inline)
    etag = f'"{row.sha256}"'
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
    if etag in known or known == ["*"]:
        return _headed(HttpResponse(status=304), row, etag, inline)
    part = _part(request, row.size, etag)
    if part is None:
        response: HttpResponseBase = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{row.size}"
        return _headed(response, row, etag, inline)
    first, last = part
    length = last - first + 1
    response = HttpResponse() if request.method == "HEAD" else StreamingHttpResponse(_pieces(row, first, length))
    if length != row.size:
        response.status_code = 206
        response["Content-Range"] = f"bytes {first}-{last}/{row.size}"
    response["Content-Length"] = str(length)
    return _headed(response, row, etag, inline)


def _masked(row: Artifact, content: veiling.Content, inline: bool) -> HttpResponseBase:
    """Always whole, and with an ETag of its own: the bytes are not those that were kept."""
    if content.data is None:
        said = "It may hold values that the flow calls sensitive, and cannot be shown without them."
        raise NotAllowed(said, code="sensitive", hint="Ask for the one you need on the run's page.")
    response = _headed(HttpResponse(content.data), row, f'"{hashlib.sha256(content.data).hexdigest()}"', inline)
    response["Accept-Ranges"] = "none"
    return response


def _part(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """(first, last) byte asked for; all of it for what is no single range of a GET; None: outside."""
    whole = (0, size - 1)
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip()) if request.method == "GET" else None
    if found is None or not any(found.groups()) or request.headers.get("If-Range", etag) != etag:
        return whole
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size - 1) if int(last) and size else None
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < int(first):
        return whole
    return (int(first), end) if int(first) < size else None


def _pieces(row: Artifact, first: int, length: int) -> Iterator[bytes]:
    """Opened at once, so that a missing file is an error and no broken download."""
    file = artifacts.open_row(row, first)
    return _read(file, length)


def _read(file: Any, left: int) -> Iterator[bytes]:
    with file:
        while left and (piece := file.read(min(artifacts.PIECE, left))):
            left -= len(piece)
            yield piece


def _headed(response: HttpResponseBase, row: Artifact, etag: str, inline: bool) -> HttpResponseBase:
    shown = inline and row.media in INLINE
    plain = row.media if row.media in _PLAIN else "application/octet-stream"
    response["Content-Type"] = f"{plain}; charset=utf-8" if plain.startswith("text/") else plain
    response["Content-Disposition"] = _disposition("inline" if shown else "attachment", filename(row))
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


def filename(row: Artifact) -> str:
    name = row.name or f"{row.pk}.{'json' if 'json' in row.content_type else 'bin'}"
    return str(get_valid_filename(name.replace("/", "_").strip(" .") or "resource"))


def _disposition(kind: str, name: str) -> str:
    if name.isascii():
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename=\"resource\"; filename*=UTF-8''{quote(name, safe='')}"
