"""Finds the `${{ … }}` in a text. Knows CEL's texts and braces, so `'}}'` and `{'a': {}}` do not end one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = Any
OPEN = "${{"

_TOKEN = re.compile(
    r"""
    (?P<raw>[rR][bB]?|[bB][rR])?(?P<quote>\"\"\"|'''|"|')   # a text begins
    | //[^\n]*                                                # a comment
    | \w+                                                     # so that the r of `for` begins no text
    | (?P<brace>[{}])
    | [^\w{}'"/]+ | /
    """,
    re.VERBOSE | re.ASCII,
)


class TemplateError(ValueError):
    """A `${{` that does not end. `offset` is where it begins."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a text: `expression` says which kind; `offset` is where `text` begins in the whole."""

    text: str
    offset: int
    expression: bool


def has_expression(value: Json) -> bool:
    return isinstance(value, str) and OPEN in value


def parse_template(text: str) -> list[Part]:
    """The parts in order; expressions without their braces and outer spaces. Raises TemplateError."""
    parts: list[Part] = []
    at = 0
    while (start := text.find(OPEN, at)) >= 0:
        if start > at:
            parts.append(Part(text[at:start], at, False))
        end = _end(text, start)
        inner = text[start + 3 : end]
        body = inner.strip()
        lead = len(inner) - len(inner.lstrip())
        parts.append(Part(body, start + 3 + lead, True))
        at = end + 2
    if at < len(text):
        parts.append(Part(text[at:], at, False))
    return parts


def sole_expression(text: str) -> Part | None:
    """The expression, when the whole text (less outer spaces) is exactly one. Raises TemplateError."""
    expressions = [p for p in parse_template(text) if p.expression or p.text.strip()]
    return expressions[0] if len(expressions) == 1 and expressions[0].expression else None


def _end(text: str, start: int) -> int:
    """The offset of the `}}` that ends the expression begun at `start`."""
    at, depth = start + 3, 0
    while at < len(text):
        if depth == 0 and text.startswith("}}", at):
            return at
        token = _TOKEN.match(text, at)
        if token is None:
            at += 1  # not ASCII; stands inside no token that matters
        elif token["quote"]:
            at = _end_of_text(text, token.end(), token["quote"], raw=bool(token["raw"]), start=start)
        else:
            depth += {"{": 1, "}": -1}.get(token["brace"] or "", 0)
            at = token.end()
    raise TemplateError("This ${{ has no matching }}.", start)


def _end_of_text(text: str, at: int, quote: str, *, raw: bool, start: int) -> int:
    while at < len(text):
        if text.startswith(quote, at):
            return at + len(quote)
        at += 2 if text[at] == "\\" and not raw else 1
    raise TemplateError(f"A text inside this ${{{{ is not closed with {quote}.", start)


def expressions_in(tree: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text with a `${{` in a tree, with its path. Keys are not templates."""
    if has_expression(tree):
        yield path, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from expressions_in(value, (*path, key))
    elif isinstance(tree, (list, tuple)):
        for index, value in enumerate(tree):
            yield from expressions_in(value, (*path, index))
