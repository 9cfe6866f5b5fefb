"""Hiding the values of secrets in whatever is stored or shown.

Known forms (resources/masked_forms.py): as it is, line by line, in base64 at any offset of a longer value, in hex,
URL-encoded, escaped in JSON and in HTML. Values shorter than 4 characters are not masked: they would blank out half of
every text and are no secrets. A value that was hashed, encrypted or cut is not recognised.

All forms are looked for at once, in UTF-8, by one automaton (Aho-Corasick).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Any, Final

from ahocorasick_rs import BytesAhoCorasick

from resources.masked_forms import SHORTEST, forms_of

MASK: Final = "•••"
_MASK: Final = MASK.encode()
#: bytes that are looked at in one go: bounds the list of finds
_PIECE: Final = 1 << 18


class Masker:
    """Knows secret values and replaces them by `mark`. One an attempt; not shared between threads."""

    def __init__(self, values: Iterable[str] = (), *, mark: str = MASK) -> None:
        self.mark: Final = mark.encode()
        self._needles: set[bytes] = set()
        self._finder: Finder | None = None
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask `value` from now on. Shorter than 4 characters: ignored."""
        if len(value) >= SHORTEST:
            self._needles |= {form.encode("utf-8", "surrogatepass") for form in forms_of(value)}
            self._finder = None

    @property
    def finder(self) -> Finder | None:
        """Looks for what is known by now; None: nothing is."""
        if self._finder is None and self._needles:
            self._finder = Finder(self._needles)
        return self._finder

    def stream(self) -> Stream:
        """A masker of bytes that come in pieces."""
        return Stream(self)

    def text_stream(self) -> TextStream:
        """A masker of text that comes in pieces."""
        return TextStream(self)

    def text(self, text: str) -> str:
        """`text` with every form of every value replaced; overlapping finds become one MASK."""
        if not self._needles:
            return text
        data = text.encode("utf-8", "surrogatepass")
        masked = self.data(data)
        return text if masked is data else masked.decode("utf-8", "surrogatepass")

    def open_text(self, text: str) -> str:
        """The same of a text that goes on: an end that may be the beginning of a value is left out."""
        stream = self.stream()
        shown = stream.feed(text.encode("utf-8", "surrogatepass"))
        whole = self.data(stream.rest[0]) == _MASK  # nothing less than a value, though it may be more
        return (shown + _MASK * whole).decode("utf-8", "replace")

    def data(self, data: bytes) -> bytes:
        """The same for bytes. Nothing found: `data` itself."""
        finder = self.finder
        if finder is None or (len(data) <= _PIECE and not (found := finder.spans(data))):
            return data
        if len(data) <= _PIECE:
            return _replaced(data, found, 0, len(data), self.mark)[0]
        stream = self.stream()
        return b"".join([*(stream.feed(data[i : i + _PIECE]) for i in range(0, len(data), _PIECE)), stream.close()])

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


class Finder:
    """Finds needles of 4 bytes and more, and what may become one."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        all_ = sorted(needles)
        self._automaton = BytesAhoCorasick(all_)
        self._longest = max(map(len, all_))
        self._by_head: dict[bytes, list[bytes]] = {}
        for needle in all_:
            self._by_head.setdefault(needle[:SHORTEST], []).append(needle)
        self._short_heads = {head[:length] for head in self._by_head for length in range(1, SHORTEST)}
        self._heads = BytesAhoCorasick(sorted(self._by_head))

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """(start, end) of every find, also of those within others, by their start."""
        return sorted((start, end) for _, start, end in self._automaton.find_matches_as_indexes(data, overlapping=True))

    def begun(self, data: bytes) -> int:
        """Where the longest end of `data` begins that may go on to be a needle; its length where there is none."""
        first = max(0, len(data) - self._longest + 1)
        tail = data[first:]
        for _, start, _ in self._heads.find_matches_as_indexes(tail, overlapping=True):
            rest = tail[start:]
            if any(needle.startswith(rest) for needle in self._by_head[rest[:SHORTEST]]):
                return first + start
        for length in range(min(SHORTEST - 1, len(tail)), 0, -1):
            if tail[-length:] in self._short_heads:
                return len(data) - length
        return len(data)


def _replaced(
    data: bytes, spans: list[tuple[int, int]], position: int, cut: int, mark: bytes = _MASK
) -> tuple[bytes, int]:
    """`data` up to `cut` from `position` on, and where the last `mark` that began before `cut` ends."""
    out: list[bytes] = []
    for start, end in spans:
        if start >= cut:
            break
        if start >= position:
            out += (data[position:start], mark)
        position = max(position, end)
    if position < cut:
        out.append(data[position:cut])
        position = cut
    return b"".join(out), position


class Stream:
    """Masks bytes that come in pieces: a value cut by the border of two is found.

    Holds back only what may be the beginning of a value: less than the longest form, mostly nothing.
    """

    def __init__(self, masker: Masker, held: bytes = b"", covered: int = 0) -> None:
        """`held`, `covered`: `rest` of the one that this one goes on for."""
        self._masker = masker
        self._held = held
        self._covered = covered  # bytes at the beginning of `_held` that the last MASK stands for already

    @property
    def rest(self) -> tuple[bytes, int]:
        """What is held back, unmasked: nobody may see it. For a stream that goes on in another process."""
        return self._held, self._covered

    def feed(self, chunk: bytes) -> bytes:
        """What is sure by now."""
        if len(chunk) <= _PIECE:
            return self._pass(chunk, last=False)
        return b"".join(self._pass(chunk[i : i + _PIECE], last=False) for i in range(0, len(chunk), _PIECE))

    def close(self) -> bytes:
        """The rest."""
        return self._pass(b"", last=True)

    def _pass(self, chunk: bytes, *, last: bool) -> bytes:
        data = self._held + chunk
        finder = self._masker.finder
        if finder is None:
            out, self._held, self._covered = data[self._covered :], b"", 0
            return out
        cut = len(data) if last else finder.begun(data)
        out, position = _replaced(data, finder.spans(data), self._covered, cut, self._masker.mark)
        self._held, self._covered = data[cut:], position - cut
        return out


class TextStream:
    """The same for text: characters in, characters out."""

    def __init__(self, masker: Masker) -> None:
        self._bytes = Stream(masker)
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogatepass").decode  # a piece may cut a character

    def feed(self, chunk: str) -> str:
        return self._decode(self._bytes.feed(chunk.encode("utf-8", "surrogatepass")))

    def close(self) -> str:
        return self._decode(self._bytes.close(), True)
