"""Addresses that answer a wait are secrets: whoever knows one can answer. Shown only to those who may operate the run.

Hidden where things are shown, not where they are kept: the history is folded again from what was recorded. Pure.
"""

from __future__ import annotations

import re
from typing import Any

Json = Any
_ADDRESS = re.compile(r"(/callbacks/)[a-z0-9]{26}-[A-Za-z0-9_.-]+")


def hide(value: Json) -> Json:
    """The same JSON without the token of any callback address in it."""
    if isinstance(value, str):
        return _ADDRESS.sub(r"\1…", value) if "/callbacks/" in value else value
    if isinstance(value, dict):
        return {key: hide(item) for key, item in value.items()}
    return [hide(item) for item in value] if isinstance(value, list) else value
