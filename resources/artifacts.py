"""Artifacts: large values as files named by their SHA-256, so that equal ones are kept once.

A file appears under its name only when it is whole and on the disk (write, fsync, rename), and before its row: a row
never names a file that is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from resources.errors import NotFound, OrchestraError, TooLarge
from resources.models import Artifact

PREFIX = "res://"
PREVIEW_BYTES = 64 * 1024


class ArtifactDamaged(OrchestraError):
    """The file of an artifact is gone, or is not what was stored."""

    code = "artifact_damaged"
    status = 500


@dataclass(frozen=True, slots=True)
class Preview:
    """What a page shows of an artifact. kind: json (indented) | text | binary (no text)."""

    kind: str
    text: str
    truncated: bool


def path_of(sha256: str) -> Path:
    return Path(settings.MEDIA_ROOT) / sha256[:2] / sha256


def store(
    data: bytes,
    *,
    content_type: str = "application/json",
    run_id: str = "",
    step: str = "",
    folder: str = "",
    name: str = "",
) -> Artifact:
    """Keep `data`. The row belongs to the caller's transaction; the file is written at once and harmless alone.

    `folder`: whose viewers may read it. Raises TooLarge above settings.MAX_OUTPUT_BYTES, OSError.
    """
    if len(data) > settings.MAX_OUTPUT_BYTES:
        raise TooLarge(f"The value has {len(data)} bytes; at most {settings.MAX_OUTPUT_BYTES} are kept.")
    sha256 = hashlib.sha256(data).hexdigest()
    _write(path_of(sha256), data)
    return Artifact.objects.create(
        sha256=sha256,
        size=len(data),
        content_type=content_type[:100],
        name=name[:200],
        run_id=run_id,
        step=step[:80],
        folder=folder,
    )


def write(
    chunks: Iterable[bytes], *, content_type: str, name: str = "", run_id: str = "", step: str = "", folder: str = ""
) -> Artifact:
    """Keep what comes in pieces, holding one piece in memory at a time. As `store` otherwise.

    Raises TooLarge above settings.MAX_RESOURCE_BYTES, OSError, and what `chunks` raises; then nothing is kept.
    """
    root = Path(settings.MEDIA_ROOT)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    handle, temporary = tempfile.mkstemp(dir=root, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > settings.MAX_RESOURCE_BYTES:
                    raise TooLarge(f"A resource has at most {settings.MAX_RESOURCE_BYTES} bytes.")
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        path = path_of(digest.hexdigest())
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.replace(temporary, path)
        _sync_names(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Artifact.objects.create(
        sha256=digest.hexdigest(),
        size=size,
        content_type=content_type[:100],
        name=name[:200],
        run_id=run_id,
        step=step[:80],
        folder=folder,
    )


def _write(path: Path, data: bytes) -> None:
    if path.exists() and path.stat().st_size == len(data):
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_names(path)


def _sync_names(path: Path) -> None:
    """The names, too, must survive a power cut."""
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def ref(artifact: Artifact) -> dict[str, Any]:
    """What a state keeps instead of the value."""
    return {
        "$res": f"{PREFIX}{artifact.pk}",
        "size": artifact.size,
        "sha256": artifact.sha256,
        "content_type": artifact.content_type,
    }


def get(artifact_id: str) -> Artifact:
    """By id, with or without `res://`. Raises NotFound."""
    artifact = Artifact.objects.filter(pk=artifact_id.removeprefix(PREFIX)).first()
    if artifact is None:
        raise NotFound("There is no such resource.", hint="It may have been removed with its run.")
    return artifact


def open_(artifact_id: str) -> BinaryIO:
    """The file, open for reading. Raises NotFound, ArtifactDamaged when it is gone."""
    return _open(get(artifact_id))


def _open(artifact: Artifact) -> BinaryIO:
    try:
        return path_of(artifact.sha256).open("rb")
    except FileNotFoundError as error:
        raise _damaged(artifact) from error


def read(artifact: Artifact) -> bytes:
    """All of it, compared with its hash. Raises ArtifactDamaged."""
    with _open(artifact) as file:
        data = file.read(artifact.size + 1)
    if hashlib.sha256(data).hexdigest() != artifact.sha256:
        raise _damaged(artifact)
    return data


def load(artifact: Artifact) -> Any:
    """The JSON value it holds. Raises ArtifactDamaged, ValueError when it is not JSON."""
    return json.loads(read(artifact))


def _damaged(artifact: Artifact) -> ArtifactDamaged:
    return ArtifactDamaged(
        f"The stored file of resource {artifact.pk} is gone or changed.", hint="Restore the files folder from a backup."
    )


def preview(artifact: Artifact) -> Preview:
    """At most 64 KiB of it as text for a page, which escapes it. Raises ArtifactDamaged."""
    with _open(artifact) as file:
        data = file.read(PREVIEW_BYTES + 1)
    cut, data = len(data) > PREVIEW_BYTES, data[:PREVIEW_BYTES]
    if b"\0" in data:
        return Preview("binary", "", cut)
    text = data.decode(errors="replace").removesuffix("\ufffd" if cut else "")
    if text.count("\ufffd") > len(text) // 10:
        return Preview("binary", "", cut)
    indented = None if cut or artifact.content_type != "application/json" else _indented(text)
    if indented is None:
        return Preview("text", text, cut)
    return Preview("json", indented[:PREVIEW_BYTES], len(indented) > PREVIEW_BYTES)


def _indented(text: str) -> str | None:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
