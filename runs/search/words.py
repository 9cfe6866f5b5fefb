"""Words of texts and of questions, the same for both databases. Pure.

A word is a run of letters and digits, without case and accents. Nothing is stemmed and no word is left out as too
common: names, ids and codes in any language are found as they are written. A question is made of words and "phrases";
`-` before one excludes it, `or` stands between alternatives, and the last word may be the beginning of one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

#: characters of a question, and parts of one
MAX_QUERY: Final = 500
MAX_TERMS: Final = 32
#: characters of a word that count
MAX_WORD: Final = 64
#: PostgreSQL knows no later position, and keeps so many of a word
_LAST: Final = 16_383
_PLACES: Final = 64
_WORD: Final = re.compile(r"[^\W_]+")
_PART: Final = re.compile(r'-?"[^"]*"?|\S+')


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand side by side. `prefix`: the last one may go on."""

    words: tuple[str, ...]
    excluded: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Alternatives, each of terms that must all hold. None: it holds no word to look for."""

    alternatives: tuple[tuple[Term, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    def wanted(self) -> tuple[Term, ...]:
        """What a text that was found may show."""
        return tuple(term for terms in self.alternatives for term in terms if not term.excluded)


class TooMuch(ValueError):
    """The question is longer than a question is; the message says what is allowed."""


def fold(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", plain)


def words_of(text: str) -> list[str]:
    return [word[:MAX_WORD] for word in _WORD.findall(fold(text))]


def read(text: str) -> Question:
    """Whatever it holds is a question. Raises TooMuch."""
    if len(text) > MAX_QUERY:
        raise TooMuch(f"A question has at most {MAX_QUERY} characters, this one has {len(text)}.")
    parts = _PART.findall(text)
    if len(parts) > MAX_TERMS:
        raise TooMuch(f"A question has at most {MAX_TERMS} words and phrases, this one has {len(parts)}.")
    groups: list[list[Term]] = [[]]
    for number, part in enumerate(parts, 1):
        if part.lower() in ("or", "|"):
            groups.append([])
        elif term := _term(part, last=number == len(parts)):
            groups[-1].append(term)
    return Question(tuple(tuple(group) for group in groups if any(not term.excluded for term in group)))


def _term(part: str, *, last: bool) -> Term | None:
    excluded = part.startswith("-") and len(part) > 1
    words = tuple(words_of(part))
    open_end = last and '"' not in part and not excluded and bool(words) and len(words[-1]) > 1
    return Term(words, excluded, open_end) if words else None


# -- PostgreSQL ------------------------------------------------------------------------------------------------
def vector(title: str, body: str) -> str:
    """A tsvector as text: words of the title count as A, others as D. Words hold nothing that needs quoting."""
    places: dict[str, list[str]] = {}
    at = 0
    for text, weight in ((title, "A"), (body, "")):
        for word in words_of(text):
            at += 1
            found = places.setdefault(word, [])
            if len(found) < _PLACES:
                found.append(f"{min(at, _LAST)}{weight}")
        at += 1  # a phrase does not begin in the title and end in the body
    return " ".join(f"'{word}':{','.join(found)}" for word, found in places.items())


def tsquery(question: Question) -> str:
    """A tsquery as text."""
    return " | ".join(f"({' & '.join(map(_ts_term, terms))})" for terms in question.alternatives)


def _ts_term(term: Term) -> str:
    words = [f"'{word}'" for word in term.words]
    words[-1] += ":*" if term.prefix else ""
    phrase = f"({' <-> '.join(words)})" if len(words) > 1 else words[0]
    return f"!{phrase}" if term.excluded else phrase


# -- SQLite ----------------------------------------------------------------------------------------------------
def match(question: Question) -> str:
    """What FTS5 is asked; every word is quoted."""
    return " OR ".join(_fts_group(terms) for terms in question.alternatives)


def _fts_group(terms: tuple[Term, ...]) -> str:
    wanted = " AND ".join(_fts_term(term) for term in terms if not term.excluded)
    without = " OR ".join(_fts_term(term) for term in terms if term.excluded)
    return f"(({wanted}) NOT ({without}))" if without else f"({wanted})"


def _fts_term(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + (" *" if term.prefix else "")
