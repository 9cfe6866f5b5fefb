"""Reads JSON that strangers sent. Pure: bytes in, plain values or a clear refusal out.

Whatever passes can be stored in both databases and handed to expressions: no NaN, no infinity, no
half a surrogate pair, bounded in size and depth.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from resources.errors import MalformedBody, TooLarge

MAX_DEPTH = 64
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(raw: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """The value that `raw` holds. Raises TooLarge (413) and MalformedBody (400)."""
    if len(raw) > max_bytes:
        raise TooLarge(f"The body has {len(raw)} bytes; {max_bytes} are allowed.", hint="Send less, or a link to it.")
    try:
        value = json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep(max_depth) from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise MalformedBody(f"The body is not JSON: {error}.", hint="Send one JSON value in UTF-8.") from None
    if not fits_depth(value, max_depth):
        raise _too_deep(max_depth)
    if _SURROGATE.search(raw):
        _refuse_half_characters(value)
    return value


def fits_depth(value: Any, max_depth: int) -> bool:
    """Whether no list or object lies deeper than `max_depth` levels. Takes no stack."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(max_depth):
        if not level:
            return True
        level = [child for node in level for child in _nested(node)]
    return not level


def _nested(node: dict[str, Any] | list[Any]) -> list[Any]:
    children = node.values() if isinstance(node, dict) else node
    return [child for child in children if isinstance(child, (dict, list))]


def _too_deep(max_depth: int) -> MalformedBody:
    return MalformedBody(f"The body is nested deeper than {max_depth} levels.", code="too_deep")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _refuse_half_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedBody("The body holds half a surrogate pair, which is no character.") from None
