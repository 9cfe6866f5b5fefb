"""When a schedule is due: five cron fields in a time zone. Pure; time is an argument.

The clock of a zone jumps twice a year. A schedule that names hours (`30 2 * * *`) means times of day: each comes once
a day. Where the clock jumps over one, it is due at the moment of the jump; where an hour comes twice, the first counts.
A schedule of every hour (`*/15 * * * *`) goes by elapsed time: it leaves out no hour and takes the repeated one, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

Json = Any
FIELDS: Final = ("minute", "hour", "day of the month", "month", "day of the week")
MAX_LENGTH: Final = 100
_EVERY_HOUR: Final = frozenset(range(24))
_REFERENCE: Final = datetime(2024, 1, 1)
_NOT_A_PLACE: Final = frozenset({"localtime", "Factory", "posixrules"})
_MINUTE: Final = timedelta(minutes=1)


class CronError(ValueError):
    """A cron expression or a zone that cannot be used, in a sentence; `hint` says how to mend it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression. `hourly`: it names no hours."""

    text: str
    hourly: bool


@lru_cache(maxsize=1024)
def parse_cron(text: str) -> Cron:
    """Raises CronError, also for an expression that is never due."""
    parts = text.split()
    if len(parts) != len(FIELDS) or len(text) > MAX_LENGTH:
        said = f"A cron expression has five fields ({', '.join(FIELDS)}); this has {len(parts)}."
        raise CronError(said, "Write it like `0 6 * * 1-5`: at 06:00, Monday to Friday.")
    try:
        simulated = CronSim(" ".join(parts), _REFERENCE)
    except CronSimError as error:
        raise _unreadable(parts, error) from error
    hourly = simulated.hours == _EVERY_HOUR
    try:
        next(simulated)
    except StopIteration:
        raise _never() from None
    if hourly:
        parts[1] = "*"
    return Cron(" ".join(parts), hourly)


def _unreadable(parts: list[str], error: CronSimError) -> CronError:
    """Which field it is; a date that no month has is readable, but never comes."""
    for index, name in enumerate(FIELDS):
        alone = ["*"] * len(FIELDS)
        alone[index] = parts[index]
        try:
            CronSim(" ".join(alone), _REFERENCE)
        except CronSimError:
            if index == 2 and re.fullmatch(r"3[01](,3[01])*", parts[2]):
                continue
            allowed = ("0-59", "0-23", "1-31, L", "1-12 or JAN-DEC", "0-7 or SUN-SAT, 5L, 1#2")[index]
            said = f"The {name} {parts[index][:40]!r} cannot be read."
            return CronError(said, f"It takes {allowed}, *, lists, ranges and steps.")
    return _never() if "day" in str(error) else CronError(str(error), "Write it like `0 6 * * 1-5`.")


def _never() -> CronError:
    return CronError("This is never due: no month has such a day.", "Use `L` for the last day of a month.")


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """The names of the IANA time zones that are known here."""
    return frozenset(available_timezones()) - _NOT_A_PLACE


def zone_of(name: str) -> ZoneInfo:
    """Raises CronError for a zone that does not exist."""
    if name not in zone_names():
        raise CronError(f"There is no time zone {name[:60]!r}.", "Use an IANA name such as Europe/Oslo or UTC.")
    return ZoneInfo(name)


def due_times(cron: Cron, zone: ZoneInfo, after: float) -> Iterator[float]:
    """Epoch seconds of the due times later than `after`, rising, each once."""
    start = datetime.fromtimestamp(after, UTC).astimezone(zone)
    found = _elapsed(cron, start) if cron.hourly else _times_of_day(cron, start, zone)
    last = after
    for moment in found:
        at = moment.timestamp()
        if at > last:
            last = at
            yield at


def _elapsed(cron: Cron, start: datetime) -> Iterator[datetime]:
    return iter(CronSim(cron.text, start))


def _times_of_day(cron: Cron, start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    for wall in CronSim(cron.text, start.replace(tzinfo=None)):
        moment = wall.replace(tzinfo=zone)
        while _skipped(moment):  # the clock jumped over it: due when it jumped
            moment += _MINUTE
        yield moment


def _skipped(moment: datetime) -> bool:
    """Whether no clock of the zone ever shows this."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != moment.replace(tzinfo=None)


def next_times(cron: str, zone: str, after: float, count: int) -> list[float]:
    """The next `count` due times. Raises CronError."""
    return list(islice(due_times(parse_cron(cron), zone_of(zone), after), count))


def utc_text(at: float) -> str:
    """A due time as text, in UTC: `2026-03-29T01:00:00Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def scheduled(name: str, zone: str, at: float, cause: str) -> dict[str, Json]:
    """What expressions see as `trigger`. `at`: the due time; cause: due | backfill | manual."""
    return {
        "kind": "schedule",
        "name": name,
        "scheduled_at": utc_text(at),
        "local_time": datetime.fromtimestamp(at, zone_of(zone)).isoformat(timespec="seconds"),
        "timezone": zone,
        "cause": cause,
    }
