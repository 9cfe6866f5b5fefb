"""The bytes of resources: kept once by their SHA-256, deleted when no resource names them any more.

There is no counter: the rows that name a blob are the count, and a foreign key keeps a named one. Every write has a
storage key of its own, so a deletion can never hit what somebody has just stored again; the row decides, under its
lock, whose bytes are kept. Bytes are whole and durable before the row; what a crash leaves is without a row, and swept.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

from django.db import transaction
from django.db.models import Count

from resources import filestore, sealing
from resources.errors import OrchestraError, TooLarge
from resources.filestore import UNFINISHED, as_file, store
from resources.models import Artifact, Blob, UploadPart
from resources.sealing import FRAME

Made = TypeVar("Made")
#: seconds that bytes without a row may still become somebody's
GRACE: Final = 24 * 3600.0
BATCH: Final = 100


class ArtifactDamaged(OrchestraError):
    """The bytes of a resource are gone, or are not what was stored."""

    code = "artifact_damaged"
    status = 500


class AboveMost(TooLarge):
    """More came than may be stored."""


class StoreBusy(OrchestraError):
    """The same bytes were deleted again and again while they were stored."""

    code = "store_busy"
    status = 503


@dataclass(frozen=True, slots=True)
class Spooled:
    """Bytes on this host's disk, complete. `path`: of a file that may be renamed; None: it has no name."""

    file: BinaryIO
    path: Path | None
    sha256: str
    size: int


@contextmanager
def spooled(chunks: Iterable[bytes], *, most: int) -> Iterator[Spooled]:
    """Take in what comes, one piece in memory at a time; gone at the end unless it was kept.

    Where resources are encrypted the file has no name and ends with the process. Raises TooLarge above `most` bytes,
    OSError, and what `chunks` raises.
    """
    if sealing.current_key():
        with filestore.unlinked() as file:
            yield _filled(file, None, chunks, most)
        return
    handle, name = tempfile.mkstemp(dir=filestore.spool_folder(), prefix=UNFINISHED)
    try:
        with os.fdopen(handle, "w+b") as named:
            yield _filled(cast(BinaryIO, named), Path(name), chunks, most)
    finally:
        Path(name).unlink(missing_ok=True)


def _filled(file: BinaryIO, path: Path | None, chunks: Iterable[bytes], most: int) -> Spooled:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise AboveMost(f"A resource has at most {most} bytes.")
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    if path is not None:
        os.fsync(file.fileno())
    return Spooled(file, path, digest.hexdigest(), size)


def keep(content: Spooled, make: Callable[[Blob], Made]) -> Made:
    """Store the bytes unless they are there, and what `make` makes of their row, in one transaction (the caller's, if
    it has one). Raises OSError, StoreBusy."""
    for _ in range(5):
        known = Blob.objects.filter(pk=content.sha256).first()
        fresh = None if known is not None and _whole(known) else _put(content, sealing.current_key())
        with transaction.atomic():
            blob = _claimed(content.sha256, fresh, known)
            made = None if blob is None else make(blob)
        if blob is not None and made is not None:
            if fresh is not None and blob.key != fresh.key:  # somebody was faster with the same bytes
                store().delete(fresh.key)
            return made
    raise StoreBusy("The same bytes are deleted again and again.", hint="Try again.")


def _claimed(sha256: str, fresh: Blob | None, known: Blob | None) -> Blob | None:
    """The row, locked until the transaction ends; None: it was deleted meanwhile, and nothing was stored for it."""
    if fresh is not None:
        Blob.objects.bulk_create([fresh], ignore_conflicts=True)
    blob = Blob.objects.select_for_update().filter(pk=sha256).first()
    if blob is not None and fresh is not None and known is not None and blob.key == known.key:  # damaged: replaced
        blob.key, blob.key_id, blob.size = fresh.key, fresh.key_id, fresh.size
        blob.save(update_fields=["key", "key_id", "size"])
    return blob


def _put(content: Spooled, key_id: str) -> Blob:
    key = f"{content.sha256[:2]}/{content.sha256}.{secrets.token_hex(6)}"
    content.file.seek(0)
    if key_id:
        sealed = sealing.seal(content.file, size=content.size, sha256=content.sha256, key_id=key_id)
        store().put(key, as_file(sealed))
    elif content.path is not None and content.path.exists():
        store().take(key, content.path)
    else:
        store().put(key, content.file)
    return Blob(sha256=content.sha256, size=content.size, key=key, key_id=key_id, created_at=time.time())


def _whole(blob: Blob) -> bool:
    expected = sealing.sealed_length(blob.size, blob.key_id) if blob.key_id else blob.size
    try:
        return store().length(blob.key) == expected
    except FileNotFoundError:
        return False


# -- reading ----------------------------------------------------------------------------------------------


class Reader(io.RawIOBase):
    """The plain bytes of a blob. Read from the start to the end they are compared with their hash on the way.

    Raises ArtifactDamaged, CannotDecrypt, OSError.
    """

    def __init__(self, blob: Blob, start: int = 0) -> None:
        self._blob, self._at = blob, start
        self._source = self._opened()
        self._digest = None if start else hashlib.sha256()

    def _opened(self) -> filestore.Readable:
        blob = self._blob
        try:
            if not blob.key_id:
                return store().stream(blob.key, self._at)
            store().length(blob.key)
        except FileNotFoundError as error:
            raise damaged(blob) from error
        plain = sealing.opened(blob.key, size=blob.size, sha256=blob.sha256, key_id=blob.key_id, start=self._at)
        return as_file(plain)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._blob.size}[whence]
        if at != self._at:
            self._source.close()
            self._at = max(0, at)
            self._source = self._opened() if self._at < self._blob.size else io.BytesIO()
            self._digest = None if self._at else hashlib.sha256()
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(min(len(buffer), max(0, self._blob.size - self._at) + 1)) if len(buffer) else b""
        buffer[: len(data)] = data
        self._at += len(data)
        if self._digest is not None:
            self._digest.update(data)
        if self._at > self._blob.size or (not data and len(buffer) and self._at < self._blob.size):
            raise damaged(self._blob)
        ended = self._at == self._blob.size and self._digest is not None
        if ended and self._digest is not None and self._digest.hexdigest() != self._blob.sha256:
            raise damaged(self._blob)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def damaged(blob: Blob) -> ArtifactDamaged:
    return ArtifactDamaged(
        f"The stored bytes of the resource with the digest {blob.sha256[:12]}… are gone or changed.",
        hint="Restore the files folder, or the bucket, from a backup.",
    )


# -- rotation of keys -------------------------------------------------------------------------------------


def key_counts() -> dict[str, int]:
    """How many blobs each key of the ring encrypts."""
    counted = Blob.objects.exclude(key_id="").values("key_id").annotate(n=Count("pk"))
    return {row["key_id"]: row["n"] for row in counted.order_by()}


def reseal(blob: Blob) -> bool:
    """Encrypt the bytes anew under the newest key; False: somebody else changed or deleted them meanwhile.

    Raises ArtifactDamaged, CannotDecrypt, OSError; then they stay as they are.
    """
    with filestore.unlinked() as file, io.BufferedReader(Reader(blob), FRAME) as source:
        shutil.copyfileobj(source, file, FRAME)
        fresh = _put(Spooled(file, None, blob.sha256, blob.size), sealing.newest_key())
    moved = Blob.objects.filter(pk=blob.pk, key=blob.key).update(key=fresh.key, key_id=fresh.key_id)
    store().delete(blob.key if moved else fresh.key)
    return bool(moved)


# -- deleting ---------------------------------------------------------------------------------------------


def drop_unused(sha256: str) -> bool:
    """Delete the bytes unless a resource or a part of an upload names them. Not within a transaction of the caller."""
    with transaction.atomic():
        # whoever stores the same bytes right now holds the row: then they are in use
        blob = Blob.objects.select_for_update(skip_locked=True).filter(pk=sha256).first()
        if blob is None or Artifact.objects.filter(blob=blob).exists() or UploadPart.objects.filter(blob=blob).exists():
            return False
        Blob.objects.filter(pk=sha256).delete()
    store().delete(blob.key)  # after the commit: a crash between leaves bytes without a row, which are swept
    return True


def sweep_unused() -> int:
    """Blobs that no resource names, BATCH at most; gives how many were deleted."""
    found = Blob.objects.filter(artifacts__isnull=True, parts__isnull=True).values_list("pk", flat=True)[:BATCH]
    return sum(drop_unused(sha256) for sha256 in list(found))


def sweep_orphans(now: float) -> int:
    """Bytes that no row names and that are older than GRACE: what crashes left. Gives how many."""
    batch: list[str] = []
    gone = 0
    for key, changed in store().listed():
        if changed < now - GRACE:
            batch.append(key)
        if len(batch) == BATCH:
            gone += _without_row(batch)
            batch = []
    return gone + _without_row(batch)


def _without_row(keys: list[str]) -> int:
    named = set(Blob.objects.filter(key__in=keys).values_list("key", flat=True))
    orphans = [key for key in keys if key not in named]
    for key in orphans:
        store().delete(key)
    return len(orphans)
