"""What a person is told when the database cannot do its work: it is no bug of ours, and somebody can mend it."""

from __future__ import annotations

from typing import Final

from django.db import Error, InterfaceError, InternalError, OperationalError

from resources.errors import OrchestraError

#: seconds after which to try again
RETRY_AFTER: Final = 5
_AGAIN: Final = "Nothing was changed; send it again then."
#: in what the database says -> the sentence and what to do
_SENTENCES: Final = (
    (("disk is full", "no space left"), "The disk of the database is full, so nothing can be stored.",
     f"Free space where the database lies (DATA_DIR for SQLite). {_AGAIN}"),
    (("readonly", "read-only"), "The database may not be written.",
     f"Let Orchestra write to it again: the file and its folder, or the server's setting. {_AGAIN}"),
    (("unable to open", "disk i/o"), "The file of the database cannot be used.",
     "Check the disk and DATA_DIR, and that Orchestra may write there."),
    (("is locked",), "The database is busy.", f"Wait a moment. {_AGAIN}"),
)  # fmt: skip


class Unavailable(OrchestraError):
    """`details.retry_after`: seconds."""

    code = "database_unavailable"
    status = 503


def unavailable(error: Exception) -> Unavailable | None:
    """None where the error is something else."""
    if not isinstance(error, Error) or not isinstance(error, OperationalError | InterfaceError | InternalError):
        return None
    said = str(error).lower()
    for marks, message, hint in _SENTENCES:
        if any(mark in said for mark in marks):
            return Unavailable(message, hint=hint, details={"retry_after": RETRY_AFTER})
    if isinstance(error, InternalError):
        return None
    return Unavailable(
        "The database cannot be reached.",
        hint="Try again in a moment. If the connection was lost while it was stored, look first whether it was.",
        details={"retry_after": RETRY_AFTER},
    )
