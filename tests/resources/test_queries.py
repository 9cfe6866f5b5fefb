"""What callers write into cursors and times is refused where no database could look for it."""

from __future__ import annotations

import pytest

from resources.api import moment
from resources.errors import BadInput
from resources.paging import decode_cursor, encode_cursor


@pytest.mark.parametrize("text", ["\ud800", "a\0"])
def test_a_cursor_that_we_never_gave_out_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        decode_cursor(encode_cursor(text), str)
    assert decode_cursor(encode_cursor("é"), str) == ("é",)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-12:00", "2026-01-01", "x"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        moment(text, "since")
    assert moment("1970-01-01T00:00:01Z", "since") == 1.0
