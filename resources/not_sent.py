"""Why a message did not go out, whatever carries it."""

from __future__ import annotations


class NotSent(Exception):
    """`cls`: one of the published classes of step errors. `again`: another try may help. `unknown`: it may have gone
    out nevertheless, so that another try may send it twice."""

    def __init__(self, cls: str, message: str, *, again: bool = False, unknown: bool = False) -> None:
        super().__init__(message)
        self.cls = cls
        self.message = message
        self.again = again
        self.unknown = unknown
