"""What a command says: spooled to a file that has no name, shown as it comes, read at the end as the step asks."""

from __future__ import annotations

import codecs
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from flows.definition.jsonguard import JsonError, check_json
from flows.steps.base import Json, StepContext

IN_MEMORY = 256 * 1024
PIECE = 64 * 1024
SHOWN = 4 * 1024  # bytes of the beginning and of the end of an output that became a resource
MAX_TAIL = 16 * 1024  # characters of one piece for the live tail: no more is ever shown


class TooMuch(Exception):
    """An output has more bytes than the step, or any resource, may have."""


class NotJson(Exception):
    """An output is not the JSON the step asked for."""


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)


@dataclass(slots=True)
class Output:
    """One stream. `feed` may be called from any one thread at a time; `most` bytes are taken."""

    name: str
    most: int
    show: Callable[[str], None]
    size: int = 0
    quiet: int = 0  # bytes that were shown before
    file: IO[bytes] = field(default_factory=_spool)
    _decoder: Any = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def feed(self, data: bytes) -> None:
        """Raises TooMuch."""
        if self.size + len(data) > self.most:
            raise TooMuch(f"{self.name} has more than {self.most} bytes, the most that is taken.")
        new = data[max(0, self.quiet - self.size) :]
        self.size += len(data)
        self.file.write(data)
        if text := self._decoder.decode(new):
            self.show(text[-MAX_TAIL:])

    def end(self, masked: Callable[[str], str], most: int = 2000) -> str:
        """The end of it, for an error. A secret that the cut would halve is looked for in more than is shown."""
        self.file.seek(max(0, self.size - most - IN_MEMORY))
        return masked(self.file.read().decode("utf-8", "replace"))[-most:]

    def pieces(self) -> Iterator[bytes]:
        self.file.seek(0)
        while data := self.file.read(PIECE):
            yield data

    def text(self) -> str:
        return b"".join(self.pieces()).decode("utf-8", "replace").replace("\0", "�")

    def close(self) -> None:
        self.file.close()


def kept(output: Output, how: str, most: int, ctx: StepContext) -> Json:
    """What the step's output has of it. Raises NotJson, and whatever ctx.store raises."""
    if how == "resource" or output.size > most:
        return _resource(output, how, ctx)
    text = output.text()
    if how == "lines":
        return text.splitlines()
    return _json(output.name, text) if how == "json" else text


def _json(name: str, text: str) -> Json:
    try:
        value = json.loads(text)
        check_json(value)
    except (ValueError, RecursionError, JsonError) as error:
        raise NotJson(f"{name} is not JSON that can be kept: {error}.") from error
    return value


def _resource(output: Output, how: str, ctx: StepContext) -> Json:
    """Its beginning and end are read from what was stored, where secrets are masked already."""
    kind = "application/json" if how == "json" else "text/plain; charset=utf-8"
    stored = ctx.store(output.pieces(), name=f"{ctx.step}-{output.name}.txt", content_type=kind)
    if how == "resource":
        return stored
    fetched = ctx.fetch(stored)
    with fetched.file as file:
        head = file.read(SHOWN)
        file.seek(max(0, fetched.size - SHOWN))
        tail = file.read(SHOWN)
    return {**stored, "head": head.decode("utf-8", "replace"), "tail": tail.decode("utf-8", "replace")}
