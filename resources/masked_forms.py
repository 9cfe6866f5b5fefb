"""The forms in which the value of a secret is looked for. Pure."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST: Final = 4
#: a line of a value counts by itself from this length on: keys are logged line by line, and short lines are words
SHORTEST_LINE: Final = 8
#: what the URL encoders in use leave as it is: all but letters, Python's, encodeURIComponent's, encodeURI's
_SAFE: Final = ("", "/", "!'()*", ";,/?:@&=+$#!'()*")


def forms_of(value: str) -> set[str]:
    """Every form in which `value` is looked for, each of 4 characters and more."""
    forms: set[str] = set()
    for part in _parts(value):
        forms |= {part, *_of_bytes(part.encode("utf-8", "replace")), *_quoted(part), *_json(part), *_html(part)}
    return {form for form in forms if len(form) >= SHORTEST}


def _parts(value: str) -> set[str]:
    """The value with its line ends as they are, as LF and as CRLF; without the space around it; its longer lines."""
    lines = value.splitlines()
    parts = {value, value.strip()}
    if len(lines) > 1:
        unix = "\n".join(lines)
        parts |= {unix, unix.strip(), "\r\n".join(lines), "\r\n".join(lines).strip()}
        parts |= {line for text in lines if len(line := text.strip()) >= SHORTEST_LINE and not _is_frame(line)}
    return {part for part in parts if len(part) >= SHORTEST}


def _is_frame(line: str) -> bool:
    """-----BEGIN PRIVATE KEY-----"""
    return line.startswith("-----") and line.endswith("-----")


def _of_bytes(data: bytes) -> set[str]:
    """Hex, and the base64 characters that `data` alone decides in each of the three places where it can begin."""
    forms = {data.hex(), data.hex().upper()}
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + data).decode()
        core = text[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]
        forms |= {core, core.translate(str.maketrans("+/", "-_"))}
    return forms


def _quoted(value: str) -> set[str]:
    forms = {quote(value, safe=safe, errors="replace") for safe in _SAFE}
    forms.add(quote_plus(value, errors="replace"))
    return forms | {_lower_escapes(text) for text in forms}


def _json(value: str) -> Iterable[str]:
    """Escaped in JSON, also in JSON that is a text within JSON; with / and hex digits as other encoders write them."""
    for ascii_ in (True, False):
        once = json.dumps(value, ensure_ascii=ascii_)[1:-1]
        yield once
        yield once.replace("/", "\\/")
        yield _upper_escapes(once)
        yield json.dumps(once, ensure_ascii=ascii_)[1:-1]


def _html(value: str) -> Iterable[str]:
    plain = html.escape(value, quote=False)
    yield plain
    for double in ("&quot;", "&#34;"):
        for single in ("&#x27;", "&#39;", "&apos;", "'"):
            yield plain.replace('"', double).replace("'", single)


def _lower_escapes(text: str) -> str:
    """%2F as %2f: both are legal."""
    head, *rest = text.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _upper_escapes(text: str) -> str:
    head, *rest = text.split("\\u")
    return head + "".join(f"\\u{part[:4].upper()}{part[4:]}" for part in rest)
