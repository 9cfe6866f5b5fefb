"""One family of exceptions. Each has a stable code, an HTTP status, and a sentence a person can act on."""

from __future__ import annotations

from typing import Any, ClassVar


class OrchestraError(Exception):
    """Base of every error we raise on purpose.

    Shown as {"error": {"code", "message", "hint", "details"}}; `details` is JSON and never holds a secret.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: Any = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        self.stable_code = code or self.code

    def to_json(self) -> dict[str, Any]:
        return {
            "error": {
                "code": self.stable_code,
                "message": self.message,
                "hint": self.hint,
                "details": self.details,
            }
        }


class BadInput(OrchestraError):
    """What was sent breaks a rule or a schema."""

    code = "bad_input"
    status = 422


class MalformedBody(OrchestraError):
    """The body cannot be read at all."""

    code = "malformed_body"
    status = 400


class NotSignedIn(OrchestraError):
    code = "not_signed_in"
    status = 401


class NotAllowed(OrchestraError):
    code = "not_allowed"
    status = 403


class NotFound(OrchestraError):
    code = "not_found"
    status = 404


class MethodNotAllowed(OrchestraError):
    code = "method_not_allowed"
    status = 405


class Conflict(OrchestraError):
    """The thing is not in the state this needs, or somebody was faster."""

    code = "conflict"
    status = 409


class Gone(OrchestraError):
    code = "gone"
    status = 410


class TooLarge(OrchestraError):
    code = "too_large"
    status = 413


class PreconditionFailed(OrchestraError):
    """An optimistic lock failed: the draft is newer than the one this was based on."""

    code = "stale"
    status = 412


class PreconditionRequired(OrchestraError):
    """The request must say which version it is based on."""

    code = "precondition_required"
    status = 428


class UnsupportedMediaType(OrchestraError):
    code = "unsupported_media_type"
    status = 415


class TooMany(OrchestraError):
    code = "too_many"
    status = 429
