"""Server-sent events out of chunks of bytes (WHATWG HTML, section 9.2). Pure."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from flows.steps.llm.talk import Broken

MAX_EVENT: Final = 1024 * 1024  # characters


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each event, in order. Raises Broken for one that is too long."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    held, data = "", list[str]()
    for chunk in chunks:
        held += decoder.decode(chunk)
        *lines, held = held.replace("\r\n", "\n").split("\n")
        for line in lines:
            line = line.removesuffix("\r")
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []
        if len(held) + sum(map(len, data)) > MAX_EVENT:
            raise Broken("One event of the answer is too long.")
    if data:
        yield "\n".join(data)


def objects(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON object of each event, until `[DONE]`. Raises Broken."""
    for data in events(chunks):
        if data.strip() == "[DONE]":
            return
        yield parsed(data)


def parsed(text: str | bytes) -> dict[str, Any]:
    """Raises Broken for what is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Broken("The answer is not JSON.") from None
    if not isinstance(found, dict):
        raise Broken("The answer is not a JSON object.")
    return found
