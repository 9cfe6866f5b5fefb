"""Where the bytes of resources are: files of this host, or a bucket of an S3-compatible service.

Both are Django storages (settings.STORAGES["resources"]) that stream, are durable before `put` returns, and raise
OSError, FileNotFoundError for what is not there.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from django.core.files.storage import FileSystemStorage, storages

#: bytes of one part of an upload to a bucket, of which one is in memory
PART: Final = 8 * 1024 * 1024
#: unfinished files begin with it; what a crash leaves of them is swept
UNFINISHED: Final = ".new-"


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class Store(Protocol):
    """What resources need of a storage. A key is never used twice."""

    def put(self, key: str, source: BinaryIO) -> None: ...
    def take(self, key: str, path: Path) -> bool: ...
    def stream(self, key: str, start: int = 0) -> Readable: ...
    def length(self, key: str) -> int: ...
    def delete(self, key: str) -> None: ...
    def listed(self) -> Iterator[tuple[str, float]]: ...


def store() -> Store:
    return cast(Store, storages["resources"])


class Files(FileSystemStorage):
    """Below settings.MEDIA_ROOT; only the user of the process reads them."""

    def put(self, key: str, source: BinaryIO) -> None:
        """All that `source` still gives, whole and on the disk, or nothing."""
        root = spool_folder()
        handle, temporary = tempfile.mkstemp(dir=root, prefix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(source, file, 1024 * 1024)
                file.flush()
                os.fsync(file.fileno())
            self.take(key, Path(temporary))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def take(self, key: str, path: Path) -> bool:
        """Give a file that is whole and on the disk its name; True: `path` is gone."""
        final = Path(self.path(key))
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.replace(path, final)
        for folder in (final.parent, final.parent.parent):  # the names, too, must survive a power cut
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return True

    def stream(self, key: str, start: int = 0) -> Readable:
        file = Path(self.path(key)).open("rb")  # noqa: SIM115  the reader closes it
        file.seek(start)
        return file

    def length(self, key: str) -> int:
        return Path(self.path(key)).stat().st_size

    def delete(self, name: str) -> None:
        Path(self.path(name)).unlink(missing_ok=True)

    def listed(self) -> Iterator[tuple[str, float]]:
        """(key, epoch seconds of its last change) of everything, the scraps of a crash included."""
        root = Path(self.location)
        for path in root.rglob("*") if root.is_dir() else ():
            with suppress(FileNotFoundError):  # gone meanwhile
                if path.is_file():
                    yield str(path.relative_to(root)), path.stat().st_mtime


def spool_folder() -> Path:
    """Where a resource is put together: beside the files, so that a rename ends it."""
    from django.conf import settings

    root = Path(settings.MEDIA_ROOT)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


@contextmanager
def unlinked() -> Iterator[BinaryIO]:
    """A file without a name, which ends with the process."""
    with tempfile.TemporaryFile(dir=spool_folder()) as file:
        yield cast(BinaryIO, file)


class Sequence(io.RawIOBase):
    """What a generator of bytes gives, as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def as_file(chunks: Iterator[bytes]) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(Sequence(chunks), 256 * 1024))
