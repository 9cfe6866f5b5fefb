"""What people are told of, and may choose not to be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "message": "Messages that flows send",
    "approval": "Approvals that name me",
    "run_failed": "Runs I started that gave up",
    "token": "Tokens of mine that end soon",
    "dead_letter": "Runs that gave up where I operate",
    "schedule_paused": "Schedules that paused themselves where I operate",
    "quarantined": "Inputs refused after failing again and again where I operate",
    "circuit": "Circuit breakers that opened, for admins",
    "secret_due": "Secrets that are due for a new value, for admins",
}
