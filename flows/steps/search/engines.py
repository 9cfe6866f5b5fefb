"""Engines that search the web: how each is asked, and its answer in one shape. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

Json = Any
MAX_TITLE: Final = 300
MAX_SNIPPET: Final = 1000
MAX_URL: Final = 2000
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


class NotResults(Exception):
    """The answer is not that of such an engine; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Engine:
    """`path` below the connection's address; `ask` gives (query of the address, JSON body or None)."""

    path: str
    ask: Callable[[str, int], tuple[dict[str, Json], Json]]
    #: keys that lead to the list of results
    results: tuple[str, ...]
    snippet: str
    headers: Mapping[str, str] = field(default_factory=dict)


ENGINES: Final[Mapping[str, Engine]] = {
    # its page is what the address has; the number of results is not asked for
    "searxng": Engine("/search", lambda q, n: ({"q": q, "format": "json"}, None), ("results",), "content"),
    "brave": Engine(
        "/web/search", lambda q, n: ({"q": q, "count": n}, None), ("web", "results"), "description",
        {"Accept": "application/json"},
    ),
    "tavily": Engine("/search", lambda q, n: ({}, {"query": q, "max_results": n}), ("results",), "content"),
}  # fmt: skip


def results(engine: str, body: Json, limit: int) -> list[dict[str, str]]:
    """[{title, url, snippet}], at most `limit`, plain texts. What has no web address is left out. Raises NotResults."""
    known = ENGINES[engine]
    found = _listed(engine, known.results, body)
    shaped = (_result(item, known.snippet) for item in found[: limit * 5])
    return [item for item in shaped if item is not None][:limit]


def _listed(engine: str, keys: tuple[str, ...], body: Json) -> list[Json]:
    if engine == "brave" and isinstance(body, dict) and body.get("type") == "search" and "web" not in body:
        return []  # it found nothing on the web
    for key in keys:
        if not isinstance(body, dict) or key not in body:
            raise NotResults(f"there is no {'.'.join(keys)} in it")
        body = body[key]
    if not isinstance(body, list):
        raise NotResults(f"its {'.'.join(keys)} is no list")
    return body


def _result(item: Json, snippet: str) -> dict[str, str] | None:
    if not isinstance(item, dict) or not _is_web(item.get("url")):
        return None
    return {
        "title": plain(item.get("title"), MAX_TITLE) or item["url"][:MAX_TITLE],
        "url": item["url"],
        "snippet": plain(item.get(snippet), MAX_SNIPPET),
    }


def _is_web(url: Json) -> bool:
    if not isinstance(url, str) or len(url) > MAX_URL or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def plain(text: Json, most: int) -> str:
    """One line without tags and entities: engines mark what was asked for with them."""
    if not isinstance(text, str):
        return ""
    return " ".join(html.unescape(_TAG.sub("", text[: most * 4])).split())[:most]
