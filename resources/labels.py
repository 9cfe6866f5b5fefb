"""Labels of resources: {name: short text}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from resources.errors import BadInput

MAX_LABELS: Final = 20
MAX_LABEL: Final = 100
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def check_labels(labels: Mapping[str, Any]) -> dict[str, str]:
    """Raises BadInput."""
    for name, text in labels.items():
        if not _NAME.fullmatch(name):
            raise _bad(f"A label's name is lower-case letters, digits, _ . and -, not {name[:80]!r}.")
        if not isinstance(text, str) or len(text) > MAX_LABEL or not text.isprintable():
            raise _bad(f"The label {name} has at most {MAX_LABEL} printable characters.")
    if len(labels) > MAX_LABELS:
        raise _bad(f"At most {MAX_LABELS} labels.")
    return dict(sorted(labels.items()))


def _bad(message: str) -> BadInput:
    return BadInput(message, details=[{"path": "labels", "message": message}])
