"""What follows from one attempt to deliver. Pure: time and randomness are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MAX_ATTEMPTS: Final = 20
#: seconds from the first attempt after which a delivery is given up, whatever attempts are left
WINDOW: Final = 3 * 86400.0
FIRST: Final = 5.0
FACTOR: Final = 3.0
LONGEST: Final = 6 * 3600.0
#: an endpoint that answers so wants nothing any more
GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` None: no answer, `error` says why. `retry_after`: seconds the other side asked for."""

    status: int | None
    error: str = ""
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Next:
    """`at`: epoch seconds of the next attempt, if one follows. `pause`: the subscription stops until somebody looks."""

    status: Literal["pending", "delivered", "dead"]
    at: float | None = None
    pause: bool = False


def after(answer: Answer, *, attempts: int, since: float, now: float, dice: float) -> Next:
    """`attempts`: made by now, this one included. `since`: when the first was due. `dice`: 0 to 1."""
    if answer.ok:
        return Next("delivered")
    if answer.status == GONE:
        return Next("dead", pause=True)
    at = now + max(_delay(attempts, dice), answer.retry_after or 0.0)
    if attempts >= MAX_ATTEMPTS or at > since + WINDOW:
        return Next("dead")
    return Next("pending", at)


def _delay(attempts: int, dice: float) -> float:
    """Half of it is certain, half is dice: many deliveries that failed together do not come back together."""
    full = min(LONGEST, FIRST * FACTOR ** (attempts - 1))
    return full * (0.5 + dice / 2)
