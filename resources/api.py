"""What the API routers of all layers share: shapes, declared errors, plain-text bodies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from django.db.models import Model
from django.http import HttpRequest
from ninja import Field, Schema
from pydantic import AfterValidator, ConfigDict

from resources import answers
from resources.access import Actor
from resources.errors import BadInput, MalformedBody, UnsupportedMediaType

answers.share()  # here, since every router imports this before it declares operations

YAML = "application/yaml"
YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain", ""})


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text may not hold U+0000")
    return text


#: texts that end in a database column: PostgreSQL takes no U+0000
Text = Annotated[str, AfterValidator(_no_nul)]


class Input(Schema):
    """A body we take: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ErrorFacts(Schema):
    code: str = Field(description="Stable; what programs test.")
    message: str
    hint: str
    details: Any = None


class ErrorOut(Schema):
    error: ErrorFacts


def declared(*success: tuple[int, Any], errors: tuple[int, ...] = ()) -> dict[Any, Any]:
    """The `response=` of an operation: what every operation may answer, and `errors` of its own."""
    common = (400, 401, 403, 404, 405, 413, 422, 429, 500, 503)
    return {**dict(success), frozenset({*common, *errors}): ErrorOut}


def iso(at: float | None) -> str | None:
    """Epoch seconds as RFC 3339 in UTC with milliseconds."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def moment(text: str, path: str) -> float:
    """Epoch seconds of an RFC 3339 time. Raises BadInput that names the field."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        at = found.timestamp()
        datetime.fromtimestamp(at, UTC)  # rounded up, the last moment of 9999 is no time any more
        return at
    except (ValueError, OverflowError):
        message = "Give a time with its zone, such as 2026-01-31T08:00:00Z."
        raise BadInput(message, details=[{"path": path, "message": message}]) from None


def actor_of(request: HttpRequest) -> Actor:
    """Who the authentication of the API found."""
    actor: Actor = request.auth  # type: ignore[attr-defined]  # ninja puts it there
    return actor


def yaml_body(request: HttpRequest) -> str:
    """The body as text. Raises UnsupportedMediaType (415), MalformedBody (400)."""
    kind = (request.content_type or "").lower()
    if kind not in YAML_TYPES:
        raise UnsupportedMediaType(f"The body is {kind}; send a flow as {YAML}.", hint=f"Content-Type: {YAML}")
    try:
        return request.body.decode()
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The body is not UTF-8: {error}.") from None


def name_of(user: Model | None) -> str | None:
    """A user's name in answers; None for nobody (a trigger, the system)."""
    return user.get_username() if user is not None else None  # type: ignore[attr-defined]
