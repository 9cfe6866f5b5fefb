"""YAML 1.2 text -> plain data with positions, safe against text that attacks the parser.

Values are built from libyaml's events in one bounded pass: nothing recurses, and the pass stops at the
first limit, so a hostile text costs no more than an honest one. PyYAML's own composer is not used: it
crashes on deep nesting, and resolves scalars by YAML 1.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from flows.definition.problems import Problem

Json = Any
Path = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_NODES = 20_000
MAX_KEY = 1000  # characters

# The core schema of YAML 1.2, less the one form that people do not mean as a number: 012 stays a text.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z", re.ASCII)
_BASED = re.compile(r"0o[0-7]{1,22}\Z|0x[0-9a-fA-F]{1,16}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z", re.ASCII)
_ODD = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_QUOTES = ("'", '"')
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something stands, counted from 1; the end is exclusive. `content_column` is where the
    content of a text begins, when it stands on one line without escapes; else None."""

    line: int
    column: int
    end_line: int
    end_column: int
    content_column: int | None = None


@dataclass(slots=True)
class Source:
    """`data` is None when `problems` is not empty."""

    data: Json = None
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def at(self, path: Path, *, key: bool = False) -> Mark:
        """The position of a path, or of its nearest ancestor that has one."""
        first, second = (self.keys, self.values) if key else (self.values, self.keys)
        for end in range(len(path), -1, -1):
            found = first.get(path[:end]) or second.get(path[:end])
            if found:
                return found
        return Mark(1, 1, 1, 1)


class _Refused(Exception):
    def __init__(self, rule: str, mark: Mark, message: str, hint: str) -> None:
        super().__init__(message)
        self.problem = Problem(rule, "error", mark.line, mark.column, message, hint, mark.end_line, mark.end_column)


def parse(text: str) -> Source:
    """Read one flow. Never raises: what is wrong is in `problems`, always with line and column."""
    source = Source()
    try:
        _check_text(text)
        source.data = _Builder(source).build(_events(text))
    except _Refused as refused:
        source.problems.append(refused.problem)
    return source


def _check_text(text: str) -> None:
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _Refused(
            "yaml-size",
            Mark(1, 1, 1, 1),
            f"A flow may have {MAX_BYTES // 1024} KiB at most.",
            "Move long texts and data into inputs or resources.",
        )
    # libyaml reports such characters without a place.
    bad = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    if bad:
        mark = _place(text, bad.start())
        raise _Refused(
            "yaml-syntax", mark, f"The character U+{ord(bad.group()):04X} is not allowed.", "Remove this character."
        )


def _place(text: str, offset: int) -> Mark:
    line = text.count("\n", 0, offset) + 1
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return Mark(line, column, line, column + 1)


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1, at.line + 1, at.column + 2) if at else Mark(1, 1, 1, 1)
        context = f" ({error.context})" if error.context else ""
        raise _Refused(
            "yaml-syntax", mark, f"This is not YAML: {error.problem}{context}.", _hint(text, mark)
        ) from error
    except yaml.YAMLError as error:
        raise _Refused("yaml-syntax", Mark(1, 1, 1, 1), f"This is not YAML: {error}.", "Check this line.") from error


def _hint(text: str, mark: Mark) -> str:
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    if "${{" in line:
        return 'Put the whole value in quotes: "${{ … }}".'
    if "\t" in line:
        return "Indent with spaces; YAML does not allow tabs."
    return "Check indentation, colons and quotes on this line and the one before."


def _mark(event: Any) -> Mark:
    start, end = event.start_mark, event.end_mark
    content: int | None = None
    if isinstance(event, yaml.ScalarEvent) and start.line == end.line:
        quote = 1 if event.style in _QUOTES else 0
        if event.style not in ("|", ">") and end.column - start.column == len(event.value) + 2 * quote:
            content = start.column + 1 + quote  # nothing was escaped
    return Mark(start.line + 1, start.column + 1, end.line + 1, end.column + 1, content)


@dataclass(slots=True)
class _Open:
    """A container being filled. `key` is the mapping key whose value comes next."""

    value: list[Json] | dict[str, Json]
    path: Path
    mark: Mark
    key: str | None = None

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None

    def child(self) -> Path:
        return (*self.path, len(self.value) if isinstance(self.value, list) else str(self.key))

    def add(self, value: Json) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.stack: list[_Open] = []
        self.nodes = 0
        self.documents = 0
        self.root: Json = None

    def build(self, events: Iterator[Any]) -> Json:
        for event in events:
            self._take(event)
        if not self.documents:
            raise _Refused("yaml-document", Mark(1, 1, 1, 1), "The flow is empty.", "Start with `flow: my-flow`.")
        return self.root

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._document(event)
        elif isinstance(event, yaml.AliasEvent):
            hint = "Write the value out where it is needed."
            raise _Refused("yaml-alias", _mark(event), "Aliases (*name) are not allowed.", hint)
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            hint = "Keep one flow a file; remove the line with ---."
            raise _Refused("yaml-document", _mark(event), "The file has more than one document.", hint)

    def _node(self, event: Any) -> None:
        mark = _mark(event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            hint = "Split the flow, or move data into inputs."
            raise _Refused("yaml-nodes", mark, f"A flow may have {MAX_NODES} values at most.", hint)
        if isinstance(event, yaml.ScalarEvent) and "\0" in event.value:  # an escape wrote it
            raise _Refused("yaml-syntax", mark, "The character U+0000 is not allowed.", "Remove this character.")
        if event.tag is not None:
            hint = "Remove the tag; put the value in quotes if it is a text."
            raise _Refused("yaml-tag", mark, f"The tag {event.tag[:80]} is not allowed.", hint)
        if self.stack and self.stack[-1].wants_key:
            self._key(event, mark)
        elif isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event, mark), mark)
        else:
            self._open(event, mark)

    def _key(self, event: Any, mark: Mark) -> None:
        top = self.stack[-1]
        if not isinstance(event, yaml.ScalarEvent) or len(event.value) > MAX_KEY:
            raise _Refused("yaml-key", mark, "A key must be a short plain text.", "Use a word, or put it in quotes.")
        if event.value == "<<" and not event.style:
            raise _Refused("yaml-merge-key", mark, "Merge keys (<<) are not allowed.", "Write the keys out.")
        key = event.value
        if key in top.value:
            hint = f"Remove one of the two; the first is on line {self.source.keys[(*top.path, key)].line}."
            raise _Refused("yaml-duplicate-key", mark, f"The key {key[:80]!r} is here twice.", hint)
        top.key = key
        self.source.keys[(*top.path, key)] = mark

    def _open(self, event: Any, mark: Mark) -> None:
        if len(self.stack) >= MAX_DEPTH:
            hint = "Use fewer levels."
            raise _Refused("yaml-depth", mark, f"Values may be nested {MAX_DEPTH} levels deep at most.", hint)
        path = self.stack[-1].child() if self.stack else ()
        empty: list[Json] | dict[str, Json] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self.stack.append(_Open(empty, path, mark))

    def _close(self, event: Any) -> None:
        done = self.stack.pop()
        end = _mark(event)
        self._add(done.value, Mark(done.mark.line, done.mark.column, end.end_line, end.end_column))

    def _add(self, value: Json, mark: Mark) -> None:
        if not self.stack:
            self.root = value
            self.source.values[()] = mark
            return
        self.source.values[self.stack[-1].child()] = mark
        self.stack[-1].add(value)


def _scalar(event: Any, mark: Mark) -> Json:
    text: str = event.value
    if event.style or not event.implicit[0]:  # the C parser says "" for plain
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text) or _BASED.match(text):
        return _integer(text, mark)
    if _ODD.match(text):
        raise _Refused("yaml-number", mark, f"{text} is not a number JSON has.", "Put it in quotes if it is a text.")
    if _FLOAT.match(text):
        return _real(text, mark)
    return text


def _integer(text: str, mark: Mark) -> int:
    value = int(text, 0) if len(text) < 30 else 1 << 64
    if not -(1 << 63) <= value < 1 << 63:
        hint = "Put it in quotes; it is then a text."
        raise _Refused("yaml-number", mark, "The number does not fit into 64 bits.", hint)
    return value


def _real(text: str, mark: Mark) -> float:
    value = float(text)
    if not math.isfinite(value):
        hint = "Put it in quotes; it is then a text."
        raise _Refused("yaml-number", mark, "The number is too large.", hint)
    return value
