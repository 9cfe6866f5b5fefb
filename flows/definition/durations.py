"""Durations as people write them: `30s`, `1h30m`, `2d`, `250ms`, or a number of seconds."""

from __future__ import annotations

import math
import re

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PATTERN = r"^(\d{1,9}(\.\d{1,6})?(ms|s|m|h|d))+$"
_WHOLE = re.compile(PATTERN, re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
LONGEST = 400 * 86400.0  # a flow that waits for longer is a mistake


def parse_duration(value: object) -> float:
    """Seconds of `value`, a text or a number of seconds. Raises ValueError with a sentence."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("expected a duration such as 30s, 10m, 1h30m, 2d, 250ms, or a number of seconds")
    seconds = _seconds(value)
    if not math.isfinite(seconds) or seconds < 0 or seconds > LONGEST:
        raise ValueError("a duration is between 0 and 400 days")
    return seconds


def _seconds(value: str | float) -> float:
    if not isinstance(value, str):
        return float(value) if abs(value) < 1e12 else math.inf
    text = value.strip()
    if len(text) > 40 or not _WHOLE.match(text):
        raise ValueError(f"{text[:40]!r} is not a duration; write 30s, 10m, 1h30m, 2d or 250ms")
    return round(sum(float(n) * UNITS[unit] for n, unit in _PART.findall(text)), 6)
