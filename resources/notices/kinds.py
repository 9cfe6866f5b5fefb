"""What people are told of, and may choose not to be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "message": "Messages that flows send",
    "approval": "Approvals that name me",
    "run_failed": "Runs I started that gave up",
    "token": "Tokens of mine that end soon",
}
