"""What comes out of the sandbox, made JSON or refused with a sentence. Pure."""

from __future__ import annotations

import math
from typing import Any

from flows.definition.jsonguard import JsonError, check_json

MAX_DEPTH = 64
MAX_BITS = 12_000
MAX_OUTPUT = 4 * 1024 * 1024  # bytes of JSON


class NotJson(Exception):
    """The value has no JSON form; the message says where and what to return instead."""


class TooBig(Exception):
    """The value is deeper or larger than an output may be."""


def to_json(value: Any) -> Any:
    """The value as JSON: tuples become lists. Raises NotJson, TooBig."""
    tree = _convert(value, "the value", 0)
    try:
        check_json(tree, max_bytes=MAX_OUTPUT)
    except JsonError as e:
        raise TooBig(f"The output cannot be kept: {e}") from e
    return tree


def _convert(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise TooBig(f"The output is nested deeper than {MAX_DEPTH} levels (or contains itself).")
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        if value.bit_length() > MAX_BITS:
            raise TooBig(f"{path} is a number of thousands of digits.")
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise NotJson(f"{path} is {value}, which JSON does not have; return a number, a string or None.")
        return value
    if isinstance(value, (list, tuple)):
        return [_convert(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {_key(k, path): _convert(v, f"{path}[{k!r}]", depth + 1) for k, v in value.items()}
    raise NotJson(f"{path} is a {type(value).__name__}, which JSON does not have; {_advice(value)}.")


def _key(key: Any, path: str) -> str:
    if type(key) is str:
        return key
    raise NotJson(f"{path} has the key {key!r}; the keys of a JSON object are strings.")


def _advice(value: Any) -> str:
    if isinstance(value, (set, frozenset)):
        return "return sorted(…) or list(…) of it"
    if isinstance(value, (bytes, bytearray)):
        return "return its text: value.decode()"
    return "return numbers, strings, lists and dicts, for example str(value)"
