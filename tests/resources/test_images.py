"""The size of an image is read from its first bytes, whatever they hold."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.images import size_of

JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\0" * 10
    + b"\xff\xc4\x00\x04\0\0" + b"\xff\xc2" + struct.pack(">HBHH", 17, 8, 480, 640) + b"\0" * 9
)  # fmt: skip
WEBP = b"RIFF\0\0\0\0WEBP"
KNOWN = [
    ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480), (640, 480)),
    ("image/gif", b"GIF89a" + struct.pack("<HH", 640, 480), (640, 480)),
    ("image/jpeg", JPEG, (640, 480)),
    ("image/webp", WEBP + b"VP8X\0\0\0\0\0\0\0\0" + b"\x7f\x02\x00\xdf\x01\x00", (640, 480)),
    ("image/webp", WEBP + b"VP8L\0\0\0\0\x2f" + (639 | 479 << 14).to_bytes(4, "little"), (640, 480)),
    ("image/webp", WEBP + b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480), (640, 480)),
]


@pytest.mark.parametrize(("kind", "head", "size"), KNOWN)
def test_the_size_of_each_type_is_found_and_of_a_beginning_none(kind: str, head: bytes, size: tuple[int, int]) -> None:
    assert size_of(kind, head) == size
    assert size_of(kind, head[: len(head) // 2]) is None
    assert [size_of(other, head) for other in {k for k, *_ in KNOWN} - {kind}] == [None] * 3


def test_an_image_without_pixels_is_none() -> None:
    assert size_of("image/gif", b"GIF89a\0\0\0\0") is None
    assert size_of("image/svg+xml", b"<svg/>") is None


@given(
    kind=st.sampled_from(sorted({k for k, *_ in KNOWN})),
    start=st.sampled_from([h for _, h, _ in KNOWN]),
    rest=st.binary(),
)
def test_whatever_the_bytes_are_there_is_an_answer(kind: str, start: bytes, rest: bytes) -> None:
    for head in (rest, start[:4] + rest, start[:16] + rest):
        found = size_of(kind, head)
        assert found is None or min(found) > 0
