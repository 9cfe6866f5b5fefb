"""Resources that people and programs bring: checked name, type and folder, streamed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from resources import artifacts, audit, quotas
from resources.access import Actor, require
from resources.blobs import AboveMost
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
    first: Callable[[], None] = lambda: None,
    then: Callable[[Artifact], None] = lambda row: None,
    by: str = "",
) -> Artifact:
    """Kept until somebody deletes it. `first`, `then`: done in its transaction. `by`: whose it is; the actor's.

    Raises BadInput, NotAllowed, TooLarge, OSError, and what `first` and `then` raise; then nothing is kept.
    """
    kind, folder, marks = clean_type(content_type), check_folder(actor, folder), check_labels(labels or {})
    most = quotas.check_type(kind)

    def audited(row: Artifact) -> None:
        then(row)
        quotas.check_total(row.size, counted=True)
        data = {"name": row.name, "size": row.size, "sha256": row.sha256, "folder": folder}
        audit.record(actor=actor, action="resource.uploaded", object_type="resource", object_id=row.pk, data=data)

    try:
        return artifacts.write(
            chunks, content_type=kind, name=clean_name(name), folder=folder, most=most,
            first=first, then=audited, labels=marks, created_by=(by or actor.name)[:150],
        )  # fmt: skip
    except AboveMost as error:
        raise quotas.too_large(kind, most) from error
