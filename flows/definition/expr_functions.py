"""The text functions of expressions, in Python, so that none of them can build a text without bound.

Names and results follow CEL's strings extension; every result is capped before it is built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from flows.definition.cel_wire import KNOWN, KNOWN_ID, ORDERED, ORDERED_ID
from flows.definition.expr_values import to_json

MAX_RESULT = 1024 * 1024  # characters
MAX_PARTS = 10_000


class TooLarge(ValueError):
    """A function would have built more than MAX_RESULT characters."""


def _capped(size: int) -> None:
    if size > MAX_RESULT:
        raise TooLarge(f"the text would have more than {MAX_RESULT} characters")


def replace(text: str, old: str, new: str) -> str:
    return replace_n(text, old, new, -1)


def replace_n(text: str, old: str, new: str, limit: int) -> str:
    found = text.count(old) if limit < 0 else min(text.count(old), limit)
    _capped(len(text) + found * (len(new) - len(old)))
    return text.replace(old, new, limit)


def split(text: str, separator: str) -> list[str]:
    return split_n(text, separator, -1)


def split_n(text: str, separator: str, limit: int) -> list[str]:
    if limit == 0:
        return []
    parts = len(text) if not separator else text.count(separator) + 1
    if parts > MAX_PARTS and not 0 < limit <= MAX_PARTS:
        raise TooLarge(f"split would give more than {MAX_PARTS} parts")
    if not separator:
        return list(text) if limit < 0 else [*text[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def join(parts: list[Any]) -> str:
    return join_with(parts, "")


def join_with(parts: list[Any], separator: str) -> str:
    if not all(isinstance(p, str) for p in parts):
        raise ValueError("join needs a list of texts; convert with .map(x, string(x))")
    _capped(sum(map(len, parts)) + len(separator) * max(0, len(parts) - 1))
    return separator.join(parts)


def lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def upper(text: str) -> str:
    return "".join(c.upper() if c.isascii() else c for c in text)


def trim(text: str) -> str:
    return text.strip()


def substring(text: str, start: int) -> str:
    return substring_to(text, start, len(text))


def substring_to(text: str, start: int, end: int) -> str:
    if not 0 <= start <= end <= len(text):
        raise ValueError(f"substring({start}, {end}) is outside of a text of {len(text)} characters")
    return text[start:end]


def char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise ValueError(f"charAt({index}) is outside of a text of {len(text)} characters")
    return text[index : index + 1]


def index_of(text: str, part: str) -> int:
    return text.find(part)


def last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


def reverse(text: str) -> str:
    return text[::-1]


_VERB = re.compile(r"%(%|(?:\.(\d{1,2}))?([sdfxXeb]))", re.ASCII)


def format_text(text: str, values: list[Any]) -> str:
    """`%s %d %f %.2f %e %x %X %b %%`."""
    rest, out, at, size = list(values), list[str](), 0, 0
    for verb in _VERB.finditer(text):
        piece = "%" if verb[1] == "%" else _verb(verb, rest)
        out += [text[at : verb.start()], piece]
        at = verb.end()
        size += len(piece)
        _capped(size)
    if rest:
        raise ValueError(f"format has {len(rest)} more values than places")
    return "".join([*out, text[at:]])


def _verb(verb: re.Match[str], rest: list[Any]) -> str:
    if not rest:
        raise ValueError("format has fewer values than places")
    value, kind, digits = rest.pop(0), verb[3], verb[2]
    if kind == "s":
        return value if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"format: %{kind} needs a number")
    if kind in "dxXb":
        return format(int(value), kind)
    return format(value, f".{digits or 6}{kind}")


def ordered_keys(mapping: dict[Any, Any]) -> list[Any]:
    """The keys in one order for ever: iteration must be the same on every replay."""
    return sorted(mapping, key=lambda k: (type(k).__name__, k))


def same_list(values: list[Any]) -> list[Any]:
    return values


def known_of_steps(value: dict[Any, Any]) -> dict[Any, Any]:
    """`steps`, or one of them, without what is null because the step has no such thing. The output of a step that
    succeeded is its output, null or not."""
    if isinstance(value.get("status"), str):  # one step
        kept = "output" if value["status"] == "succeeded" else ""
        return {name: field for name, field in value.items() if field is not None or name == kept}
    return {name: known_of_steps(step) if isinstance(step, dict) else step for name, step in value.items()}


#: name -> overloads: id, result, parameters (the first is what stands before the dot), code.
TABLE: dict[str, list[tuple[str, str, list[str], Callable[..., Any]]]] = {
    ORDERED: [(ORDERED_ID, "array", ["map"], ordered_keys), ("ordered_list", "array", ["array"], same_list)],
    KNOWN: [(KNOWN_ID, "map", ["map"], known_of_steps)],
    "replace": [
        ("replace", "string", ["string"] * 3, replace),
        ("replace_n", "string", ["string", "string", "string", "integer"], replace_n),
    ],
    "split": [
        ("split", "strings", ["string"] * 2, split),
        ("split_n", "strings", ["string", "string", "integer"], split_n),
    ],
    "join": [("join", "string", ["array"], join), ("join_with", "string", ["array", "string"], join_with)],
    "substring": [
        ("substring", "string", ["string", "integer"], substring),
        ("substring_to", "string", ["string", "integer", "integer"], substring_to),
    ],
    "format": [("format", "string", ["string", "array"], format_text)],
    "charAt": [("char_at", "string", ["string", "integer"], char_at)],
    "indexOf": [("index_of", "integer", ["string"] * 2, index_of)],
    "lastIndexOf": [("last_index_of", "integer", ["string"] * 2, last_index_of)],
    "lowerAscii": [("lower_ascii", "string", ["string"], lower)],
    "upperAscii": [("upper_ascii", "string", ["string"], upper)],
    "trim": [("trim", "string", ["string"], trim)],
    "reverse": [("reverse", "string", ["string"], reverse)],
}
