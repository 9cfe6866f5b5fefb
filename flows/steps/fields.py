"""Types of config fields. Pure.

A config is validated twice: by lint, when texts may still hold `${{ … }}`, and again when it is
rendered. `Templated` types accept an expression in the first case only.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import core_schema

from flows.definition.durations import PATTERN, parse_duration

Json = Any
RENDERED = {"rendered": True}  # the validation context of a rendered config
OPEN = "${{"


class Config(BaseModel):
    """Base of every family's config: unknown keys are refused, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class Templated:
    """`Annotated[int, Templated()]`: an int, or, before rendering, a text with an expression."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def validate(value: Any, inner: Any, info: ValidationInfo) -> Any:
            if isinstance(value, str) and OPEN in value and not (info.context or {}).get("rendered"):
                return value
            return inner(value)

        return core_schema.with_info_wrap_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        inner = handler(schema)
        if inner.get("type") == "string" and not {"pattern", "enum", "const", "maxLength"} & set(inner):
            return inner
        return {"anyOf": [inner, {"type": "string", "pattern": r"\$\{\{", "description": "an expression"}]}


def _no_expression(text: str) -> str:
    if OPEN in text:
        raise ValueError("no expression is allowed here; write a plain text")
    return text


def _duration(value: object) -> float:
    return parse_duration(value)


#: Seconds. Written as 30s, 10m, 1h30m, 2d, 250ms or a number of seconds.
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": PATTERN}, {"type": "number", "minimum": 0}],
            "description": "a duration: 30s, 10m, 1h30m, 2d, 250ms, or a number of seconds",
        }
    ),
]
Plain = Annotated[str, AfterValidator(_no_expression)]
Name = Annotated[str, AfterValidator(_no_expression), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}$")]
StepId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]

TText = Annotated[str, Templated()]
TDuration = Annotated[Duration, Templated()]
TJson = Annotated[Json, Templated()]

_SIZE = re.compile(r"(\d{1,9})\s*(KiB|MiB|GiB)?", re.ASCII)


def parse_size(value: object) -> int:
    """Bytes of `64MiB`, `512 KiB` or a number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a size such as 512KiB or 64MiB, or a number of bytes")
    return int(match[1]) * {None: 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[match[2]]


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d+\s*(KiB|MiB|GiB)?$"}, {"type": "integer"}]}),
]
