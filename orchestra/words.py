"""How the pages say things: states, spans of time, JSON. Pure functions; time is an argument."""

from __future__ import annotations

import json
import re
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

STATE_LABELS = {
    "queued": "Queued",
    "running": "Running",
    "waiting": "Waiting",
    "human": "Waiting on human",
    "paused": "Paused",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "compensating": "Compensating",
    "compensated": "Compensated",
    "dead": "Dead-lettered",
    "skipped": "Skipped",
    "degraded": "Degraded",
}

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def duration(seconds: float) -> str:
    """At most two units: 80ms, 9s, 4m 12s, 3h 12m, 1d 4h. Negative spans count as nothing."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    if seconds < 10 and round(seconds, 1) != round(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for index, (unit, size) in enumerate(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            below = _UNITS[index + 1] if index + 1 < len(_UNITS) else None
            part = f" {rest // below[1]}{below[0]}" if below and rest // below[1] else ""
            return f"{count}{unit}{part}"
    return "0s"


def ago(seconds: float) -> str:
    if seconds < 5:
        return "just now"
    return f"{_coarse(seconds)} ago"


def left(seconds: float) -> str:
    """Time left; seconds only under 15 minutes, as they are what counts then."""
    if seconds <= 0:
        return "now"
    return duration(seconds) if seconds < 900 else _coarse(seconds)


def urgency(seconds: float) -> str:
    """The tone of a time left: "fail" under 15 minutes, "pause" under an hour, "" else."""
    return "fail" if seconds < 900 else "pause" if seconds < 3600 else ""


def _coarse(seconds: float) -> str:
    if seconds < 60:
        return f"{int(seconds)}s"
    return duration(int(seconds // 60) * 60)


def initials(name: str) -> str:
    parts = re.split(r"[\s._-]+", name.strip())
    return "".join(p[0] for p in parts[:2] if p).upper() or "?"


_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)')


def json_html(value: Any) -> SafeString:
    """Indented JSON with a class for keys, strings and the rest; everything is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    out: list[SafeString] = []
    at = 0
    for match in _TOKEN.finditer(text):
        out.append(format_html("{}", text[at : match.start()]))
        out.append(_coloured(match))
        at = match.end()
    out.append(format_html("{}", text[at:]))
    return SafeString("".join(out))


def _coloured(match: re.Match[str]) -> SafeString:
    string, colon, other = match.groups()
    if other is not None:
        return format_html('<span class="n">{}</span>', other)
    return format_html('<span class="{}">{}</span>{}', "k" if colon else "s", string, colon or "")
