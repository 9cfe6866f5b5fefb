"""Where the values of secrets are, when not in our own table."""

from __future__ import annotations

from typing import Final

STORED: Final = "stored"
