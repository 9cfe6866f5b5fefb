"""Resources that people and programs bring: checked name, type and folder, streamed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from resources import artifacts, audit
from resources.access import Actor, require
from resources.errors import BadInput
from resources.labels import check_labels
from resources.models import Artifact, Role

_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,48}/[a-z0-9][a-z0-9!#$&^_.+-]{0,48}")
_FOLDER: Final = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*")


def clean_name(name: str) -> str:
    """A file's name without its folders and without what no page should show."""
    last = unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])
    return "".join(c for c in last if c.isprintable()).strip(" .")[:200]


def clean_type(content_type: str) -> str:
    """Lower case, without parameters. Raises BadInput."""
    found = (content_type or "application/octet-stream").split(";")[0].strip().lower()
    if not _TYPE.fullmatch(found):
        message = "A type is such as text/csv or application/pdf."
        raise BadInput(message, details=[{"path": "content_type", "message": message}])
    return found


def check_folder(actor: Actor, folder: str) -> str:
    """Operators of the folder bring resources. Raises BadInput, NotAllowed."""
    if folder and (len(folder) > 200 or not _FOLDER.fullmatch(folder)):
        message = "A folder is such as payments or payments/eu."
        raise BadInput(message, details=[{"path": "folder", "message": message}])
    require(actor, Role.OPERATOR, folder)
    return folder


def upload_resource(
    *,
    actor: Actor,
    chunks: Iterable[bytes],
    name: str,
    content_type: str,
    folder: str,
    labels: Mapping[str, Any] | None = None,
    then: Callable[[Artifact], None] = lambda row: None,
) -> Artifact:
    """Kept until somebody deletes it. `then`: done in its transaction.

    Raises BadInput, NotAllowed, TooLarge, OSError, and what `then` raises; then nothing is kept.
    """
    kind, folder, marks = clean_type(content_type), check_folder(actor, folder), check_labels(labels or {})

    def audited(row: Artifact) -> None:
        then(row)
        data = {"name": row.name, "size": row.size, "sha256": row.sha256, "folder": folder}
        audit.record(actor=actor, action="resource.uploaded", object_type="resource", object_id=row.pk, data=data)

    return artifacts.write(
        chunks,
        content_type=kind,
        name=clean_name(name),
        folder=folder,
        then=audited,
        labels=marks,
        created_by=actor.name[:150],
    )
