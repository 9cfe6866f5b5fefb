"""Bytes of resources: once by digest, never deleted while named, encrypted where asked; races and crashes between."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import ProtectedError

from resources import artifacts, blobs, sealed, sealing
from resources.access import Actor
from resources.crypto import CannotDecrypt
from resources.errors import TooLarge
from resources.filestore import Files, store
from resources.models import Artifact, Blob

MIB = 1024 * 1024
FRAME = sealing.FRAME
pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> Path:
    settings.MEDIA_ROOT = tmp_path / "files"
    return tmp_path / "files"


@pytest.fixture
def encrypted(settings: Any) -> None:
    settings.ENCRYPT_RESOURCES = True


def keys() -> list[str]:
    return sorted(key for key, _ in store().listed())


def test_bytes_go_with_the_last_resource_that_names_them_and_not_before(files: Path) -> None:
    one, two = (artifacts.store(b"same", content_type="text/plain") for _ in range(2))
    one.delete()
    assert not blobs.drop_unused(two.sha256)
    assert artifacts.read(artifacts.get(two.pk)) == b"same"
    two.delete()
    assert blobs.sweep_unused() == 1
    assert (keys(), Blob.objects.count()) == ([], 0)


def test_the_database_itself_keeps_bytes_that_a_resource_names() -> None:
    made = artifacts.store(b"named")
    with pytest.raises(ProtectedError):
        made.blob.delete()


def test_a_crash_between_row_and_bytes_leaves_orphans_that_are_swept_after_a_day(monkeypatch: Any) -> None:
    made = artifacts.store(b"doomed")
    made.delete()
    with monkeypatch.context() as crash:
        crash.setattr(Files, "delete", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            blobs.drop_unused(made.sha256)
    with contextlib.suppress(RuntimeError), transaction.atomic():
        artifacts.store(b"rolled back")
        raise RuntimeError
    kept = artifacts.store(b"kept")
    age = max(changed for _, changed in store().listed())
    assert blobs.sweep_orphans(age) == 0
    assert blobs.sweep_orphans(age + blobs.GRACE + 1) == 2
    assert artifacts.read(kept) == b"kept"
    again = artifacts.store(b"doomed")
    assert artifacts.read(again) == b"doomed"


@pytest.mark.django_db(transaction=True)
def test_storing_and_deleting_the_same_bytes_at_once_never_loses_a_named_one() -> None:
    def churn(number: int) -> None:
        with contextlib.closing(connection):
            for turn in range(12):
                made = artifacts.store(b"shared")
                assert artifacts.read(artifacts.get(made.pk)) == b"shared"
                if (turn + number) % 3:
                    made.delete()
                    blobs.drop_unused(made.sha256)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(4)))
    assert Artifact.objects.count() == 16
    assert all(artifacts.read(row) == b"shared" for row in Artifact.objects.select_related("blob"))
    assert keys() == [Blob.objects.get().key]


def chunks(size: int) -> Iterator[bytes]:
    piece = bytes(range(256)) * 1024
    for _ in range(size // len(piece)):
        yield piece


@pytest.mark.parametrize("secret", [False, True])
def test_64_mib_go_in_and_out_in_little_memory(secret: bool, settings: Any) -> None:
    settings.ENCRYPT_RESOURCES = secret
    tracemalloc.start()
    try:
        made = artifacts.write(chunks(64 * MIB), content_type="application/octet-stream")
        digest = hashlib.sha256()
        with artifacts.open_(made.pk) as file:
            while piece := file.read(MIB):
                digest.update(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (made.size, digest.hexdigest()) == (64 * MIB, made.sha256)
    assert peak < 16 * MIB


def test_what_is_too_large_or_breaks_off_leaves_nothing(settings: Any) -> None:
    settings.MAX_RESOURCE_BYTES = MIB
    with pytest.raises(TooLarge):
        artifacts.write(chunks(2 * MIB), content_type="text/plain")

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        artifacts.write(broken(), content_type="text/plain")
    assert (keys(), Artifact.objects.count(), Blob.objects.count()) == ([], 0, 0)


SIZES = [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 17]


@pytest.mark.parametrize("secret", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_any_part_of_it_can_be_read(size: int, secret: bool, settings: Any) -> None:
    settings.ENCRYPT_RESOURCES = secret
    data = os.urandom(size)
    made = artifacts.write([data], content_type="x/y")
    assert made.sha256 == hashlib.sha256(data).hexdigest()
    assert artifacts.read(made) == data
    for start in {0, 1, size // 2, FRAME, size - 1, size} & set(range(size + 1)):
        with artifacts.open_row(made, start) as file:
            assert file.read() == data[start:]
    with artifacts.open_row(made) as file:
        file.seek(size // 2)
        assert file.read() == data[size // 2 :]
        file.seek(0, io.SEEK_END)
        assert file.read() == b""


def test_encrypted_bytes_are_not_on_the_disk_and_are_still_kept_once(encrypted: None, files: Path) -> None:
    one, two = (artifacts.store(b"the secret of " * 1000) for _ in range(2))
    assert one.blob_id == two.blob_id == hashlib.sha256(b"the secret of " * 1000).hexdigest()
    stored = [path for path in files.rglob("*") if path.is_file()]
    assert len(stored) == 1
    assert b"secret" not in stored[0].read_bytes()
    assert one.blob.key_id


def cut(data: bytes) -> bytes:
    """Whole frames only, the last one gone."""
    return data[: -(17 + sealing.TAG)]


def swapped(data: bytes) -> bytes:
    head = len(data) - (3 * FRAME + 17 + 4 * sealing.TAG)
    whole = FRAME + sealing.TAG
    return data[:head] + data[head + whole : head + 2 * whole] + data[head : head + whole] + data[head + 2 * whole :]


@pytest.mark.parametrize("damage", [cut, swapped, lambda data: data[:-1] + b"x", lambda data: b"?" + data[1:]])
def test_frames_cut_off_moved_or_changed_do_not_open(damage: Any, encrypted: None, files: Path) -> None:
    made = artifacts.write([os.urandom(3 * FRAME + 17)], content_type="x/y")
    path = files / made.blob.key
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CannotDecrypt):
        artifacts.read(made)


def test_bytes_moved_to_another_resource_do_not_open(encrypted: None, files: Path) -> None:
    one, two = artifacts.store(b"1" * 100), artifacts.store(b"2" * 100)
    (files / two.blob.key).write_bytes((files / one.blob.key).read_bytes())
    with pytest.raises(CannotDecrypt):
        artifacts.read(two)


def test_a_key_that_left_the_ring_is_named(encrypted: None, settings: Any) -> None:
    made = artifacts.store(b"data")
    settings.ENCRYPTION_KEYS = {"other": next(iter(settings.ENCRYPTION_KEYS.values()))}
    with pytest.raises(CannotDecrypt, match=made.blob.key_id):
        artifacts.read(made)


def test_reading_to_the_end_notices_bytes_that_changed_or_grew(files: Path) -> None:
    for damage in (b"other", b"plain and more", b"pl"):
        made = artifacts.store(b"plain")
        (files / artifacts.get(made.pk).blob.key).write_bytes(damage)
        with artifacts.open_(made.pk) as file, pytest.raises(artifacts.ArtifactDamaged):
            file.read()


def test_rotation_encrypts_resources_anew_and_says_when_the_old_key_may_go(encrypted: None, settings: Any) -> None:
    made, plain = artifacts.store(b"data" * 50_000), Blob(sha256="f" * 64, size=0, key="ff/f", created_at=0)
    plain.save()
    old = made.blob.key_id
    settings.ENCRYPTION_KEYS = {"newer": base64.b64encode(os.urandom(32)).decode(), **settings.ENCRYPTION_KEYS}
    assert old not in sealed.in_use().droppable
    done = {one.label: one for one in sealed.reseal_all(actor=Actor.system("test"))}["resource"]
    assert (done.changed, done.lost, done.left) == (1, [], False)
    assert old in sealed.in_use().droppable
    settings.ENCRYPTION_KEYS = {"newer": settings.ENCRYPTION_KEYS["newer"]}
    assert artifacts.read(artifacts.get(made.pk)) == b"data" * 50_000
    assert len(keys()) == 1
