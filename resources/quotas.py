"""How much people may upload: of each type (settings.UPLOAD_LIMITS) and all together (settings.MAX_UPLOADED_BYTES)."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from resources.errors import BadInput, TooLarge
from resources.models import Artifact, Upload

#: the number of the lock in PostgreSQL: "uploads" as digits of a keypad
_TURN: Final = 8756237
_UNITS: Final = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


def said(size: int) -> str:
    """Bytes for a person: 20 MiB, 1.5 GiB, 900 bytes."""
    for unit, many in _UNITS:
        if size >= many:
            return f"{size / many:.4g} {unit}"
    return f"{size} bytes"


def most_of(content_type: str) -> int:
    """Bytes that an upload of this type may have; 0: the type is not taken. The closest pattern counts."""
    kind = content_type.split("/")[0]
    for pattern in (content_type, f"{kind}/*", "*/*"):
        if pattern in settings.UPLOAD_LIMITS:
            return int(min(settings.UPLOAD_LIMITS[pattern], settings.MAX_RESOURCE_BYTES))
    return int(settings.MAX_RESOURCE_BYTES)


def check_type(content_type: str, size: int = 0) -> int:
    """The most bytes of an upload of this type. Raises BadInput `type_not_taken`, TooLarge for `size` above them."""
    most = most_of(content_type)
    if most == 0:
        taken = ", ".join(sorted(pattern for pattern, limit in settings.UPLOAD_LIMITS.items() if limit))
        message = f"Files of the type {content_type} are not taken here."
        hint = f"Taken are {taken}." if taken else "Ask an admin."
        raise BadInput(
            message, hint=hint, code="type_not_taken", details=[{"path": "file", "message": f"{message} {hint}"}]
        )
    if size > most:
        raise too_large(content_type, most)
    return most


def too_large(content_type: str, most: int) -> TooLarge:
    """The sentence that says the limit."""
    whose = f"of the type {content_type} " if most < settings.MAX_RESOURCE_BYTES else ""
    return TooLarge(f"A resource {whose}has at most {most} bytes ({said(most)}).")


def check_total(size: int, *, counted: bool) -> None:
    """Is there room for `size` bytes? `counted`: they are among what is stored by now. Raises TooLarge `uploads_full`.

    Inside the transaction that stores them: from here to its end no other upload is counted or begun.
    """
    most = settings.MAX_UPLOADED_BYTES
    if not most:
        return
    _wait_for_turn()
    kept = Artifact.objects.filter(run_id="", condemned_at__isnull=True).aggregate(n=Sum("size"))["n"] or 0
    used = kept + (Upload.objects.aggregate(n=Sum("size"))["n"] or 0)
    others = used - size if counted else used
    if others + size > most:
        raise TooLarge(
            f"All uploads together have at most {most} bytes ({said(most)}); {said(others)} are there "
            f"or announced, and this one has {said(size)}.",
            hint="Delete resources that nobody needs, or ask an admin for more room.",
            code="uploads_full",
        )


def _wait_for_turn() -> None:
    """One after the other, each seeing what those before it stored. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TURN])
