"""Names that appear in flows and addresses."""

from __future__ import annotations

import re

from resources.errors import BadInput

SLUG = re.compile(r"[a-z][a-z0-9-]{0,62}")


def check_slug(name: str, path: str = "name") -> None:
    """Raises BadInput, its `details` naming the field `path`."""
    if not SLUG.fullmatch(name):
        message = "Use lower-case letters, digits and -, starting with a letter; 63 at most."
        raise BadInput(message, details=[{"path": path, "message": message}])
