"""When cron is due: clock changes in several zones, leap days, year ends, and what can never be due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.definition.cron import CronError, due_times, next_times, parse_cron, scheduled, zone_names, zone_of


def local(cron: str, zone: str, start: str, count: int) -> list[str]:
    after = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).timestamp()
    return [
        datetime.fromtimestamp(t, ZoneInfo(zone)).strftime("%d %H:%M%z") for t in next_times(cron, zone, after, count)
    ]


LORD_HOWE, SANTIAGO = "Australia/Lord_Howe", "America/Santiago"
#: what, cron, zone, after (local time), due times
TABLE = [
    ("autumn: the first of two", "30 2 * * *", "Europe/Paris", "2025-10-25T12:00", ["26 02:30+0200", "27 02:30+0100"]),
    ("spring: when it jumps", "30 2 * * *", "Europe/Paris", "2025-03-29T12:00", ["30 03:00+0200", "31 02:30+0200"]),
    ("spring: once for all", "*/20 2 * * *", "Europe/Paris", "2025-03-29T12:00", ["30 03:00+0200", "31 02:00+0200"]),
    (
        "spring: once with the hour it jumps to",
        "0 2,3 * * *",
        "Europe/Paris",
        "2025-03-29T12:00",
        ["30 03:00+0200", "31 02:00+0200", "31 03:00+0200"],
    ),
    (
        "autumn: a star as minute still names its hour",
        "*/30 2 * * *",
        "Europe/Paris",
        "2025-10-26T00:00",
        ["26 02:00+0200", "26 02:30+0200", "27 02:00+0100"],
    ),
    (
        "autumn: every second hour",
        "30 */2 * * *",
        "Europe/Paris",
        "2025-10-26T00:00",
        ["26 00:30+0200", "26 02:30+0200", "26 04:30+0100"],
    ),
    (
        "autumn: every hour, the repeated one too",
        "30 * * * *",
        "Europe/Paris",
        "2025-10-26T01:00",
        ["26 01:30+0200", "26 02:30+0200", "26 02:30+0100", "26 03:30+0100"],
    ),
    (
        "every hour, written as a range",
        "30 0-23 * * *",
        "Europe/Paris",
        "2025-10-26T02:00",
        ["26 02:30+0200", "26 02:30+0100", "26 03:30+0100"],
    ),
    ("spring: hourly", "30 * * * *", "Europe/Paris", "2025-03-30T01:00", ["30 01:30+0100", "30 03:30+0200"]),
    ("new york, spring", "15 2 * * *", "America/New_York", "2025-03-08T12:00", ["09 03:00-0400", "10 02:15-0400"]),
    ("new york, autumn", "15 1 * * *", "America/New_York", "2025-11-01T12:00", ["02 01:15-0400", "03 01:15-0500"]),
    ("half an hour, autumn", "45 1 * * *", LORD_HOWE, "2025-04-05T12:00", ["06 01:45+1100", "07 01:45+1030"]),
    ("half an hour, spring", "15 2 * * *", LORD_HOWE, "2025-10-04T12:00", ["05 02:30+1100", "06 02:15+1100"]),
    ("midnight is jumped over", "0 0 * * *", SANTIAGO, "2025-09-06T01:00", ["07 01:00-0300", "08 00:00-0300"]),
    ("a day that never was", "0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", ["29 12:00-1000", "31 00:00+1400"]),
    ("no change of clocks", "30 2 * * *", "Asia/Tokyo", "2025-03-29T12:00", ["30 02:30+0900", "31 02:30+0900"]),
    ("year end", "0 0 1 1 *", "UTC", "2025-12-31T23:59", ["01 00:00+0000", "01 00:00+0000"]),
    ("last day of february", "0 6 L 2 *", "UTC", "2027-01-01T00:00", ["28 06:00+0000", "29 06:00+0000"]),
    ("weekdays only", "0 6 * * 1-5", "Europe/Oslo", "2026-11-20T12:00", ["23 06:00+0100", "24 06:00+0100"]),
    ("second tuesday", "0 6 * * 2#2", "UTC", "2026-11-01T00:00", ["10 06:00+0000", "08 06:00+0000"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "cron", "zone", "start", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_when_it_is_due(what: str, cron: str, zone: str, start: str, expected: list[str]) -> None:
    assert local(cron, zone, start, len(expected)) == expected


def test_leap_days_come_every_four_years_but_in_2100() -> None:
    after = datetime(2095, 1, 1, tzinfo=UTC).timestamp()
    days = [datetime.fromtimestamp(t, UTC).year for t in next_times("0 0 29 2 *", "UTC", after, 2)]
    assert days == [2096, 2104]


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 6 * *", "has five fields"),
        ("0 0 6 * * *", "has five fields"),
        ("@daily", "has five fields"),
        ("", "has five fields"),
        ("61 * * * *", "The minute '61'"),
        ("0 24 * * *", "The hour '24'"),
        ("0 0 32 * *", "The day of the month '32'"),
        ("0 0 * 13 *", "The month '13'"),
        ("0 0 * * 9", "The day of the week '9'"),
        ("1/0 * * * *", "The minute '1/0'"),
        ("0 0 30 2 *", "never due"),
        ("0 0 31 4,6,9,11 *", "never due"),
    ],
)
def test_what_cannot_be_read_or_never_comes_is_said(cron: str, said: str) -> None:
    with pytest.raises(CronError) as caught:
        parse_cron(cron)
    assert said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "localtime", "../etc/passwd", "europe/oslo"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(CronError, match="no time zone"):
        zone_of(zone)


def test_the_trigger_knows_its_time_in_utc_and_in_its_zone() -> None:
    seen = scheduled("nightly", "Europe/Oslo", datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp(), "due")
    assert seen == {
        "kind": "schedule",
        "name": "nightly",
        "scheduled_at": "2026-03-29T01:00:00Z",
        "local_time": "2026-03-29T03:00:00+02:00",
        "timezone": "Europe/Oslo",
        "cause": "due",
    }


ZONES = st.sampled_from(sorted(z for z in zone_names() if "/" in z))
MINUTES = st.one_of(st.just("*"), st.just("*/15"), st.integers(0, 59).map(str))
HOURS = st.one_of(st.just("*"), st.just("*/3"), st.integers(0, 23).map(str), st.just("1,2,3"))
MOMENTS = st.integers(946_684_800, 2_208_988_800).map(float)


@settings(max_examples=150, deadline=None)
@given(minute=MINUTES, hour=HOURS, zone=ZONES, after=MOMENTS)
def test_due_times_rise_and_do_not_depend_on_where_one_begins_to_look(
    minute: str, hour: str, zone: str, after: float
) -> None:
    cron, place = parse_cron(f"{minute} {hour} * * *"), zone_of(zone)
    times = list(islice(due_times(cron, place, after), 12))
    assert all(a < b for a, b in zip([after, *times], times, strict=False))
    assert times[6:] == list(islice(due_times(cron, place, times[5]), 6))
    assert times[5:] == list(islice(due_times(cron, place, times[5] - 0.5), 7))


@settings(max_examples=150, deadline=None)
@given(minute=st.integers(0, 59), hour=st.integers(0, 23), zone=ZONES, after=MOMENTS)
def test_a_time_of_day_comes_once_for_every_day_of_the_calendar(
    minute: int, hour: int, zone: str, after: float
) -> None:
    place = zone_of(zone)
    times = list(islice(due_times(parse_cron(f"{minute} {hour} * * *"), place, after), 400))
    shown = [datetime.fromtimestamp(t, place) for t in times]
    assert len({t.date() for t in shown}) >= len(shown) - 1  # Samoa left out a day and is due at its end
    for moment in shown:
        exact = (moment.hour, moment.minute) == (hour, minute)
        before = datetime.fromtimestamp(moment.timestamp() - 60, place)
        jumped = before.replace(tzinfo=None) + timedelta(minutes=1) < moment.replace(tzinfo=None)
        assert exact or jumped
