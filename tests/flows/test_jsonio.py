"""Reading JSON from strangers."""

from __future__ import annotations

import pytest

from resources.errors import MalformedBody, TooLarge
from resources.jsonio import fits_depth, read_json


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nul",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b'"\\ud800"',
        b"\xff",
        b'{"a": "\\udc00x"}',
        nested(65),
        nested(200_000),
        b"1" * 5000,
    ],
)
def test_what_cannot_be_kept_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_json(raw, max_bytes=1_000_000)


def test_size_is_looked_at_before_the_content() -> None:
    with pytest.raises(TooLarge):
        read_json(b"{" * 11, max_bytes=10)


def test_good_values_come_back_whole() -> None:
    assert read_json(b'{"a": [1, 2.5, null, true, "\\ud83d\\ude00 \\u0000"]}', max_bytes=100) == {
        "a": [1, 2.5, None, True, "😀 \0"]
    }
    assert read_json(nested(64), max_bytes=200) is not None


def test_depth_counts_levels_of_lists_and_objects() -> None:
    assert fits_depth({"a": [1]}, 2)
    assert not fits_depth({"a": [{}]}, 2)
