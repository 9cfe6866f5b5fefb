"""Several messages as one. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.steps.notify.config import MAX_TEXT, MAX_TITLE
from resources.notices.people import plain

#: characters of one message's text; a longer one stands whole in the product, or in its run
MAX_PART = 4_000
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """`at`: epoch seconds. `url`: whole, or empty."""

    title: str
    text: str
    at: float
    url: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """`texts`: Markdown, each piece to be rendered by itself: what one leaves open must not swallow the next."""

    title: str
    texts: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n\n".join(self.texts)


def compose(parts: Sequence[Part], count: int) -> Whole:
    """One message of `count`, of which `parts` are listed (one at least)."""
    if count == 1:
        return Whole(parts[0].title, (parts[0].text[:MAX_TEXT] or plain(parts[0].title),))
    listed, left = [], MAX_TEXT
    for part in parts:
        made = _part(part)
        if len(made) > left:
            break
        listed.append(made)
        left -= len(made)
    rest = count - len(listed)
    if rest:
        listed.append(f"… and {rest} more {'message' if rest == 1 else 'messages'}, each in its run.")
    return Whole(f"{count} messages: {parts[0].title}"[:MAX_TITLE], tuple(listed))


def _part(part: Part) -> str:
    when = datetime.fromtimestamp(part.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    head = f"**{plain(part.title)}**  \n{when}" + (f" · <{part.url}>" if part.url else "")
    cut = "" if len(part.text) <= MAX_PART else "\n\n… (cut)"
    return head + (f"\n\n{_closed(part.text[:MAX_PART])}{cut}" if part.text else "")


def _closed(text: str) -> str:
    """With the fence that it leaves open closed, for places that render all in one."""
    opened = ""
    for match in _FENCE.finditer(text):
        fence = match[1]
        if not opened:
            opened = fence
        elif fence[0] == opened[0] and len(fence) >= len(opened):
            opened = ""
    return f"{text}\n{opened}" if opened else text
