"""What an admin should look at: secrets that are too old, keys that lie beside what they protect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from resources import secrets

#: secrets named in one warning
SHOWN = 5
_BESIDE = "The encryption keys were made by this program and lie beside the data that they protect."
_BESIDE_HINT = "Set ENCRYPTION_KEYS or ENCRYPTION_KEYS_FILE, then run manage.py rotate_keys."


@dataclass(frozen=True, slots=True)
class Notice:
    """`code`: stable. `page`: name of the page where it is mended, or ""."""

    code: str
    message: str
    hint: str
    page: str = ""


def notices(now: datetime) -> list[Notice]:
    """The most urgent first."""
    found = secrets.ages(now)
    old = [secret.name for secret, age in found if age.state == "overdue"]
    soon = [secret.name for secret, age in found if age.state == "due"]
    listed = []
    if old:
        listed.append(Notice("secrets_overdue", f"Too old: {_named(old)}.", "Set new values.", "secrets"))
    if soon:
        listed.append(Notice("secrets_due", f"Soon too old: {_named(soon)}.", "Set new values.", "secrets"))
    if settings.ENCRYPTION_KEYS_FROM == "made":
        listed.append(Notice("keys_beside_data", _BESIDE, _BESIDE_HINT))
    return listed


def _named(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def keys_are_elsewhere(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [Warning(_BESIDE, hint=_BESIDE_HINT, id="resources.W001")] if settings.ENCRYPTION_KEYS_FROM == "made" else []


def register_checks() -> None:
    """For `manage.py check --deploy`."""
    register(keys_are_elsewhere, Tags.security, deploy=True)
