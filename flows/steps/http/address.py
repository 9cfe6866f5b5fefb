"""The one address a request goes to, composed before anybody approves it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from flows.steps.base import Refused
from resources.connection_settings import join_url

MAX_LENGTH = 8000
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\#]")
_SAFE = "/:@!$&'()*+,;=-._~%?[]"


def compose(base_url: str, path: str, query: Mapping[str, Any]) -> str:
    """A connection's base address, path and query as one URL; the path may hold a query of its own.

    Raises Refused for a path that would leave the base: a step gets the connection's system and no other part of it.
    """
    try:
        joined = join_url(base_url, path)
    except ValueError as e:
        raise Refused(str(e)) from e
    if any(segment in (".", "..") for segment in _decoded(path.partition("?")[0]).split("/")):
        raise Refused(f"The path {path[:80]!r} climbs out of the connection's address with `..`")
    return complete(quote(joined, safe=_SAFE), query)


def complete(url: str, query: Mapping[str, Any]) -> str:
    """A whole address as the flow gives it, with the query added. Raises Refused."""
    parts = split(url)
    return _join(parts, parts.path or "/", "&".join(q for q in (parts.query, _encode(query)) if q))


def split(url: str) -> SplitResult:
    """Raises Refused for what is no plain http address."""
    if _FORBIDDEN.search(url):
        raise Refused(f"The address {url[:80]!r} has a space, a control character, a backslash or a #; encode it")
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or parts.scheme not in ("http", "https"):
        raise Refused(f"{url[:80]!r} is not an http or https address")
    if "@" in parts.netloc:
        raise Refused("An address must not hold a user name or password; put them into a connection")
    return parts


def _decoded(path: str) -> str:
    """As a lenient server reads it: decoded until nothing changes, a few times at most."""
    for _ in range(4):
        path, before = unquote(path), path
        if path == before:
            break
    return path.replace("\\", "/")


def _join(parts: SplitResult, path: str, query: str) -> str:
    url = f"{parts.scheme}://{parts.netloc}{path}" + (f"?{query}" if query else "")
    if len(url) > MAX_LENGTH:
        raise Refused(f"The address has {len(url)} characters; {MAX_LENGTH} are allowed")
    return url


def _encode(query: Mapping[str, Any]) -> str:
    pairs = []
    for name, value in query.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, text(v)) for v in values if v is not None]
    return urlencode(pairs)


def text(value: str | int | float | bool) -> str:
    """A scalar as it stands in a query or a form."""
    return str(value).lower() if isinstance(value, bool) else str(value)
