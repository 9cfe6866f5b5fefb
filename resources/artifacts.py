"""Artifacts, for people resources: values of any size, `res://<id>`, of whose bytes equal ones are kept once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from django.conf import settings

from resources import blobs, holding
from resources.access import Actor, can
from resources.blobs import ArtifactDamaged as ArtifactDamaged
from resources.errors import NotFound, TooLarge
from resources.models import Artifact, Blob, Role

PREFIX = "res://"
PREVIEW_BYTES = 64 * 1024
#: bytes read at a time
PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Preview:
    """What a page shows of an artifact. kind: json (indented) | text | binary (no text)."""

    kind: str
    text: str
    truncated: bool


def store(
    data: bytes,
    *,
    content_type: str = "application/json",
    run_id: str = "",
    step: str = "",
    folder: str = "",
    name: str = "",
) -> Artifact:
    """Keep `data`. The row belongs to the caller's transaction; the bytes are written at once and harmless alone.

    `folder`: whose viewers may read it. Raises TooLarge above settings.MAX_OUTPUT_BYTES, OSError.
    """
    if len(data) > settings.MAX_OUTPUT_BYTES:
        raise TooLarge(f"The value has {len(data)} bytes; at most {settings.MAX_OUTPUT_BYTES} are kept.")
    return write([data], content_type=content_type, run_id=run_id, step=step, folder=folder, name=name)


def write(
    chunks: Iterable[bytes],
    *,
    content_type: str,
    name: str = "",
    run_id: str = "",
    step: str = "",
    folder: str = "",
    most: int | None = None,
    first: Callable[[], None] = lambda: None,
    then: Callable[[Artifact], None] = lambda row: None,
    **more: Any,
) -> Artifact:
    """Keep what comes in pieces, holding one piece in memory at a time. `more`: further columns of the row; `first`
    and `then`: what is done in its transaction, too, before and after.

    Without a run of origin it is kept until somebody deletes it, unless `more` says otherwise. Raises TooLarge above
    `most` bytes, by default settings.MAX_RESOURCE_BYTES, OSError, and what `chunks` raises; then nothing is kept.
    """
    facts = {"keep": Artifact.Keep.RUN if run_id else Artifact.Keep.FOREVER, **more}

    def make(blob: Blob) -> Artifact:
        first()
        row = Artifact.objects.create(
            blob=blob,
            size=blob.size,
            content_type=content_type[:100],
            name=name[:200],
            run_id=run_id,
            step=step[:80],
            folder=folder,
            **facts,
        )
        then(row)
        return row

    with blobs.spooled(chunks, most=settings.MAX_RESOURCE_BYTES if most is None else most) as content:
        return blobs.keep(content, make)


def ref(artifact: Artifact) -> dict[str, Any]:
    """What a state keeps instead of the value."""
    return {
        "$res": f"{PREFIX}{artifact.pk}",
        "size": artifact.size,
        "sha256": artifact.sha256,
        "content_type": artifact.content_type,
    }


def get(artifact_id: str) -> Artifact:
    """By id, with or without `res://`, its blob with it. Raises NotFound."""
    artifact = Artifact.objects.select_related("blob").filter(pk=artifact_id.removeprefix(PREFIX)).first()
    if artifact is None or not there(artifact):
        raise _absent()
    return artifact


def _absent() -> NotFound:
    return NotFound("There is no such resource, or you may not see it.", hint="It may have been removed with its run.")


def there(artifact: Artifact) -> bool:
    """It is not deleted. One that something open came to name while it was to go is there, and will be given back."""
    return artifact.condemned_at is None or bool(holding.held([artifact.pk]))


def seen(actor: Actor, artifact_id: str) -> Artifact:
    """As `get`, for a viewer of its folder: to anybody else it is not there. Raises NotFound."""
    found = get(artifact_id)
    if not can(actor, Role.VIEWER, found.folder):
        raise _absent()
    return found


def open_(artifact_id: str) -> BinaryIO:
    """The bytes, to read; compared with their hash on the way. Raises NotFound, ArtifactDamaged when they are gone."""
    return open_row(get(artifact_id))


def open_row(artifact: Artifact, start: int = 0) -> BinaryIO:
    """The bytes from `start` on. Raises ArtifactDamaged, CannotDecrypt, OSError."""
    return cast(BinaryIO, io.BufferedReader(blobs.Reader(artifact.blob, start), PIECE))


def read(artifact: Artifact) -> bytes:
    """All of it, compared with its hash. Raises ArtifactDamaged."""
    with open_row(artifact) as file:
        data = file.read(artifact.size + 1)
    if hashlib.sha256(data).hexdigest() != artifact.sha256:
        raise blobs.damaged(artifact.blob)
    return data


def load(artifact: Artifact) -> Any:
    """The JSON value it holds. Raises ArtifactDamaged, ValueError when it is not JSON."""
    return json.loads(read(artifact))


def preview(artifact: Artifact) -> Preview:
    """At most 64 KiB of it as text for a page, which escapes it. Raises ArtifactDamaged."""
    with open_row(artifact) as file:
        data = file.read(PREVIEW_BYTES + 1)
    return preview_of(data, artifact.media, cut=len(data) > PREVIEW_BYTES)


def preview_of(data: bytes, content_type: str, *, cut: bool) -> Preview:
    """Of the beginning of something of this type. `cut`: there is more than PREVIEW_BYTES of it."""
    data = data[:PREVIEW_BYTES]
    if b"\0" in data:
        return Preview("binary", "", cut)
    text = data.decode(errors="replace").removesuffix("\ufffd" if cut else "")
    if text.count("\ufffd") > len(text) // 10:
        return Preview("binary", "", cut)
    indented = _indented(text) if not cut and content_type.endswith(("/json", "+json")) else None
    if indented is None:
        return Preview("text", text, cut)
    return Preview("json", indented[:PREVIEW_BYTES], len(indented) > PREVIEW_BYTES)


def _indented(text: str) -> str | None:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
