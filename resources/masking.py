"""Hiding the values of secrets in whatever is stored or shown.

Known forms: as it is, in base64 (standard and URL alphabets, at any offset of a longer value, such as
"user:secret"), URL-encoded, and escaped inside JSON text. Values shorter than 4 characters are not masked: they would
blank out half of every text and are no secrets. A value that was hashed, encrypted or cut is not recognised.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "•••"
SHORTEST = 4


def _base64_forms(data: bytes) -> set[str]:
    """The characters that `data` alone decides, for each of the three places it can begin in a longer value."""
    forms = set()
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + data).decode()
        core = text[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]
        forms |= {core, core.translate(str.maketrans("+/", "-_"))}
    return forms


def forms_of(value: str) -> set[str]:
    """Every form in which `value` is looked for."""
    quoted = {quote(value, safe="", errors="replace"), quote(value, errors="replace")}
    quoted |= {quote_plus(value, errors="replace")}
    lower = {_lower_escapes(text) for text in quoted}
    escaped = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms = {value, *quoted, *lower, *escaped, *_base64_forms(value.encode(errors="replace"))}
    return {form for form in forms if len(form) >= SHORTEST}


def _lower_escapes(text: str) -> str:
    """%2F as %2f: both are legal."""
    head, *rest = text.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


class Masker:
    """Knows secret values and replaces them by MASK. One an attempt; not shared between threads."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._needles: set[str] = set()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask `value` from now on. Shorter than 4 characters: ignored."""
        if len(value) >= SHORTEST:
            self._needles |= forms_of(value)

    @property
    def needles(self) -> frozenset[str]:
        return frozenset(self._needles)

    def stream(self) -> Stream:
        """A masker of bytes that come in pieces."""
        return Stream(self)

    def text(self, text: str) -> str:
        """`text` with every form of every value replaced; overlapping finds become one MASK."""
        spans = sorted(span for needle in self._needles for span in _spans(needle, text))
        out, position = [], 0
        for start, end in spans:
            if start >= position:
                out += [text[position:start], MASK]
            position = max(position, end)
        out.append(text[position:])
        return "".join(out)

    def tree(self, value: Any) -> Any:
        """A copy of a JSON value with every text, key and number masked. Nothing known: the value itself."""
        return self._tree(value) if self._needles else value

    def _tree(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self._tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._tree(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = str(value)
            masked = self.text(shown)
            return value if masked == shown else masked
        return value


def _spans(needle: str, text: str) -> Iterable[tuple[int, int]]:
    start = text.find(needle)
    while start >= 0:
        yield start, start + len(needle)
        start = text.find(needle, start + 1)


class Stream:
    """Masks bytes that come in pieces: a value cut by the border of two is found. Holds back less than the longest."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = ""

    def feed(self, chunk: bytes) -> bytes:
        """What is sure by now."""
        self._held += chunk.decode("utf-8", "surrogateescape")
        needles = self._masker.needles
        if not needles:
            return self._release(len(self._held))
        cut = max(0, len(self._held) - max(map(len, needles)) + 1)
        spans = sorted((span for needle in needles for span in _spans(needle, self._held)), key=lambda span: -span[1])
        for start, end in spans:  # from the right, as a cut that moves left may meet another
            if start < cut < end:
                cut = start
        return self._release(cut)

    def close(self) -> bytes:
        """The rest."""
        return self._release(len(self._held))

    def _release(self, cut: int) -> bytes:
        sure, self._held = self._held[:cut], self._held[cut:]
        return self._masker.text(sure).encode("utf-8", "surrogateescape")
