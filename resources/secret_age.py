"""How old a value is, and when somebody should set a new one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

#: a reminder begins so many days before the time, at most a quarter of the whole
NOTICE: Final = timedelta(days=14)
LONGEST: Final = 3650

State = Literal["none", "fresh", "due", "overdue"]


@dataclass(frozen=True, slots=True)
class Age:
    """`state` "none": nobody asked to be reminded. `due_at`: when the value is too old; None then."""

    days: int
    state: State
    due_at: datetime | None


def age_of(rotated_at: datetime, rotate_days: int | None, now: datetime) -> Age:
    days = max(0, (now - rotated_at).days)
    if rotate_days is None:
        return Age(days, "none", None)
    due_at = rotated_at + timedelta(days=rotate_days)
    if now >= due_at:
        return Age(days, "overdue", due_at)
    near = now >= due_at - min(NOTICE, timedelta(days=rotate_days) / 4)
    return Age(days, "due" if near else "fresh", due_at)
