"""Markdown of authors and of messages, as HTML that is safe to show."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _renderer() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def html_of(text: str) -> str:
    """HTML in the text is escaped, images are left out, and no link leads to a script."""
    return str(_renderer().render(text))
