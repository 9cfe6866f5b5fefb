"""The part of a text that shows why it was found. Pure. Nothing here is HTML: places are numbers, a page marks them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from runs.search.words import _WORD, MAX_WORD, Term, fold

#: characters of a snippet, and of what stands before its first find
LENGTH: Final = 220
_BEFORE: Final = 60


@dataclass(frozen=True, slots=True)
class Snippet:
    """`marks`: (start, end) of the words that were looked for, in characters of `text`, in order."""

    text: str = ""
    marks: tuple[tuple[int, int], ...] = ()

    def pieces(self) -> list[tuple[str, bool]]:
        """(text, is it marked?) one after another."""
        found, at = [], 0
        for start, end in self.marks:
            found += [(self.text[at:start], False), (self.text[start:end], True)]
            at = end
        return [piece for piece in [*found, (self.text[at:], False)] if piece[0]]


def snippet(text: str, terms: Sequence[Term]) -> Snippet:
    """Where most of the terms' words are together; the beginning where none is."""
    found = list(_finds(text, terms))
    first = _best(found) if found else 0
    start = _word_start(text, max(0, first - _BEFORE)) if first > _BEFORE else 0
    end = min(len(text), start + LENGTH)
    before, after = "… " if start else "", " …" if end < len(text) else ""
    shown = before + _flat(text[start:end]) + after
    moved = len(before) - start
    marks = tuple((a + moved, b + moved) for a, b, _ in found if a >= start and b <= end)
    return Snippet(shown, marks)


def _flat(text: str) -> str:
    """In one line, as long as it was; nothing that steers the direction of writing."""
    return "".join(c if c.isprintable() else " " for c in text)


def _finds(text: str, terms: Iterable[Term]) -> Iterable[tuple[int, int, str]]:
    whole = {word for term in terms for word in (term.words[:-1] if term.prefix else term.words)}
    begins = tuple(term.words[-1] for term in terms if term.prefix)
    for match in _WORD.finditer(text):
        word = fold(match[0])[:MAX_WORD]
        if word in whole or word.startswith(begins):
            yield match.start(), match.end(), word


def _best(found: list[tuple[int, int, str]]) -> int:
    """Where the most different words are within one snippet."""
    best, most = found[0][0], 0
    for i, (start, _, _) in enumerate(found[:200]):
        near = {word for a, _, word in found[i : i + 50] if a < start + LENGTH - _BEFORE}
        if len(near) > most:
            best, most = start, len(near)
    return best


def _word_start(text: str, at: int) -> int:
    space = text.find(" ", at, at + _BEFORE // 2)
    return at if space < 0 else space + 1
