"""How large an image is, from its first bytes: a few hundred of them can stand for gigabytes of pixels. Pure."""

from __future__ import annotations

import struct
from typing import Final

#: bytes of a file that are looked at
HEAD: Final = 64 * 1024
#: pixels that a page shows
MOST_PIXELS: Final = 50_000_000
_SIZED: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def size_of(content_type: str, head: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels; None: these are not the first bytes of such an image."""
    reader = {"image/png": _png, "image/gif": _gif, "image/jpeg": _jpeg, "image/webp": _webp}.get(content_type)
    try:
        found = reader(head) if reader else None
    except (struct.error, IndexError):
        return None
    return found if found and min(found) > 0 else None


def _png(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _gif(head: bytes) -> tuple[int, int] | None:
    if head[:6] not in (b"GIF87a", b"GIF89a"):
        return None
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """The frame's header, behind any other segments."""
    at = 2 if head.startswith(b"\xff\xd8") else len(head)
    while at < len(head):
        mark, kind, length = struct.unpack_from(">BBH", head, at)
        if mark != 0xFF or length < 2:
            return None
        if kind in _SIZED:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + length
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
