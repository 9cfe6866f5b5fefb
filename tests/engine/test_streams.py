"""Resources that an attempt reads and writes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.steps.base import Refused
from resources import artifacts
from resources.masking import MASK, Masker
from runs.streams import Streams

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


def _streams(folder: str = "payments", *secrets: str) -> Streams:
    return Streams("01RUN", "export", folder, Masker(secrets))


def test_what_is_stored_in_pieces_is_read_back_whole_by_its_name() -> None:
    ref = _streams().store((b"id\n", b"1\n"), name="rows.csv", content_type="text/csv")
    found = _streams().fetch(ref)
    with found.file as file:
        assert file.read() == b"id\n1\n"
    assert (found.name, found.content_type, found.size) == ("rows.csv", "text/csv", 5)
    row = artifacts.get(ref["$res"])
    assert (row.run_id, row.step, row.folder) == ("01RUN", "export", "payments")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_secret_cut_by_the_border_of_two_pieces_is_masked(size: int) -> None:
    secret = "correct horse battery"
    text = f"a {secret} b {base64.b64encode(secret.encode()).decode()} c".encode()
    pieces = (text[i : i + size] for i in range(0, len(text), size))
    ref = _streams("payments", secret).store(pieces, name="log", content_type="text/plain")
    with _streams().fetch(ref).file as file:
        kept = file.read().decode()
    assert kept.startswith(f"a {MASK} b {MASK}") and "horse" not in kept


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    data = bytes(range(256)) * 3
    ref = _streams("payments", "secret-value").store([data], name="blob", content_type="application/octet-stream")
    with _streams().fetch(ref).file as file:
        assert file.read() == data


def test_a_resource_of_another_folder_is_refused() -> None:
    ref = _streams("hr").store([b"x"], name="x", content_type="text/plain")
    with pytest.raises(Refused, match="folder hr"):
        _streams("payments").fetch(ref)
    with _streams("").fetch(ref).file as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("name", [None, 3, "/etc/passwd", "file:///etc/passwd", {"$res": 7}, "res://nothing"])
def test_what_names_no_resource_is_refused(name: object) -> None:
    with pytest.raises(Refused):
        _streams().fetch(name)


def test_nothing_is_left_of_a_stream_that_broke(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        _streams().store(broken(), name="x", content_type="text/plain")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
