"""Refuses values that are not JSON, or are too deep or too large, before anything evaluates them."""

from __future__ import annotations

import math
from typing import Any

Json = Any

MAX_DEPTH = 64
MAX_BYTES = 1024 * 1024


class JsonError(ValueError):
    """The value is not JSON within the limits; the message says which."""


def check_json(value: Json, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> int:
    """About how many bytes `value` takes as JSON text. Raises JsonError.

    Iterative, and it stops at the limit, so cyclic and hugely shared values end too.
    """
    total = 0
    stack: list[tuple[Json, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > max_depth + 1:
            raise JsonError(f"The value is nested deeper than {max_depth} levels.")
        if isinstance(item, dict):
            for key, child in item.items():
                total += _text(key) + 2
                stack.append((child, depth + 1))
        elif isinstance(item, list):
            stack.extend((child, depth + 1) for child in item)
            total += len(item)
        total += _scalar(item)
        if total > max_bytes:
            raise JsonError(f"The value is larger than {max_bytes} bytes.")
    return total


def without_big_numbers(value: Json) -> Json:
    """`value` with every integer beyond 64 bits as a text of its digits, which keeps it exact: the
    evaluator has no such numbers. Values without any come back as they are."""
    if isinstance(value, dict):
        made = {k: without_big_numbers(v) for k, v in value.items()}
        return made if any(made[k] is not v for k, v in value.items()) else value
    if isinstance(value, list):
        items = [without_big_numbers(v) for v in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return _digits(value)
    return value


def _digits(value: int) -> str:
    if value.bit_length() > 12_000:
        raise JsonError("A number has thousands of digits.")
    return str(value)


def _scalar(item: Json) -> int:
    if item is None or isinstance(item, (bool, dict, list)):
        return 4
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, float):
        if not math.isfinite(item):
            raise JsonError(f"{item} is not a number JSON has.")
        return 8
    if isinstance(item, int):
        return 1 + item.bit_length() // 3
    raise JsonError(f"A {type(item).__name__} is not a JSON value.")


def _text(text: Json) -> int:
    if not isinstance(text, str):
        raise JsonError(f"A key must be a text, not a {type(text).__name__}.")
    if "\0" in text:  # PostgreSQL stores none, and the evaluator would cut the text off there
        raise JsonError("A text holds a null character.")
    if text.isascii():
        return len(text) + 2
    try:
        return len(text.encode()) + 2
    except UnicodeEncodeError as error:
        raise JsonError("A text holds half a character (a lone surrogate).") from error
