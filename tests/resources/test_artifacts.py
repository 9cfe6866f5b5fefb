"""Artifacts: equal bytes once, whole or not at all, previewed within bounds, downloaded as data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from resources import artifacts
from resources.errors import NotFound, TooLarge
from resources.models import Artifact

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> Path:
    settings.MEDIA_ROOT = tmp_path / "files"
    return tmp_path / "files"


def path_of(made: Artifact) -> Path:
    return Path(settings.MEDIA_ROOT) / artifacts.get(made.pk).blob.key


def stored(files: Path) -> list[Path]:
    return [path for path in files.rglob("*") if path.is_file()]


def test_what_is_stored_comes_back(files: Path) -> None:
    made = artifacts.store(b'{"a": 1}', content_type="application/json", run_id="r", step="s", folder="payments")
    ref = artifacts.ref(made)
    assert ref["$res"] == f"res://{made.pk}"
    assert (ref["size"], ref["sha256"], ref["content_type"]) == (8, made.sha256, "application/json")
    found = artifacts.get(ref["$res"])
    assert (found.run_id, found.step, found.folder) == ("r", "s", "payments")
    assert artifacts.load(found) == {"a": 1}
    with artifacts.open_(made.pk) as file:
        assert file.read() == b'{"a": 1}'


def test_equal_bytes_are_one_file_and_no_scraps_are_left(files: Path) -> None:
    one, two = (artifacts.store(b"same", content_type="text/plain") for _ in range(2))
    assert one.pk != two.pk
    assert stored(files) == [path_of(one)] == [path_of(two)]
    assert (stored(files)[0].stat().st_mode & 0o077) == 0


def test_a_write_that_fails_leaves_no_row_and_no_file(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        artifacts.store(b"data", content_type="text/plain")
    assert stored(files) == []
    assert not Artifact.objects.exists()


def test_a_file_cut_short_is_written_again(files: Path) -> None:
    made = artifacts.store(b"whole", content_type="text/plain")
    path_of(made).write_bytes(b"wh")
    artifacts.store(b"whole", content_type="text/plain")
    assert artifacts.read(artifacts.get(made.pk)) == b"whole"


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_a_lost_or_changed_file_is_said_to_be_damaged(damage: Any) -> None:
    made = artifacts.store(b"data!", content_type="text/plain")
    damage(path_of(made))
    with pytest.raises(artifacts.ArtifactDamaged):
        artifacts.read(made)


def test_unknown_ids_and_large_values_are_refused(settings: Any) -> None:
    with pytest.raises(NotFound):
        artifacts.get("res://nothing")
    settings.MAX_OUTPUT_BYTES = 4
    with pytest.raises(TooLarge):
        artifacts.store(b"12345", content_type="text/plain")


PREVIEWS = [
    (b'{"a":[1]}', "application/json", "json", '{\n  "a": [\n    1\n  ]\n}', False),
    (b"{broken", "application/json", "text", "{broken", False),
    (b"[" * 9000, "application/json", "text", "[" * 9000, False),
    ("é".encode(), "text/plain", "text", "é", False),
    (b"\x89PNG\0\0", "image/png", "binary", "", False),
    (bytes(range(128, 256)), "text/plain", "binary", "", False),
    (b"a" + "é".encode() * 40_000, "text/plain", "text", "a" + "é" * 32767, True),
    (b"", "text/plain", "text", "", False),
]


@pytest.mark.parametrize(("data", "content_type", "kind", "text", "cut"), PREVIEWS)
def test_previews_are_bounded_text(data: bytes, content_type: str, kind: str, text: str, cut: bool) -> None:
    made = artifacts.store(data, content_type=content_type)
    assert artifacts.preview(made) == artifacts.Preview(kind, text, cut)


def test_a_preview_that_grows_by_indenting_is_cut() -> None:
    made = artifacts.store(json.dumps([[1]] * 8000).encode())
    shown = artifacts.preview(made)
    assert (shown.kind, len(shown.text), shown.truncated) == ("json", artifacts.PREVIEW_BYTES, True)
