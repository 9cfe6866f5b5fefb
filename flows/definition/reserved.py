"""What belongs to the language but not to this version: refused by name, so that nothing is ignored."""

from __future__ import annotations

FAMILIES = frozenset({"agent"})

#: Keys by the place they stand in.
KEYS: dict[str, frozenset[str]] = {
    "step": FAMILIES,
    "approval": frozenset({"escalate", "remind"}),
    "fallback": FAMILIES,
    "compensate": FAMILIES,
}

#: Values by key.
VALUES: dict[str, frozenset[str]] = {
    "on_expiry": frozenset({"escalate"}),
    "exclude": frozenset({"promoter", "editor"}),
}


def is_reserved(place: str, key: str) -> bool:
    return key in KEYS.get(place, frozenset())
