"""What becomes of a due time: catch-up, jitter, overlap. Tables and properties; no database."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.schedules.policy import MAX_COUNTED, MAX_WAITING, Busy, Due, Missed, Timing, decide, look, may_start
from tests.schedules.conftest import at

HOUR = 3600.0
NOON = at("2026-03-01T12:00")
POLICIES = ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")


def hourly(catchup: float = HOUR, jitter: float = 0.0) -> Timing:
    return Timing("1/s", "0 * * * *", "UTC", catchup, jitter)


def test_nothing_is_due_before_its_time() -> None:
    assert look(hourly(), NOON, NOON - 0.001) == Due(None, None, NOON)


def test_a_due_time_is_fired_with_the_next_one_after_it() -> None:
    assert look(hourly(), NOON, NOON) == Due(None, NOON, NOON + HOUR)


def test_after_hours_of_downtime_the_window_is_caught_up_and_the_rest_is_missed() -> None:
    now = NOON + 5 * HOUR + 60
    found = look(hourly(catchup=2 * HOUR), NOON, now)
    assert found == Due(Missed(NOON, NOON + 3 * HOUR, 4), NOON + 4 * HOUR, NOON + 5 * HOUR)
    assert found.next is not None
    assert look(hourly(catchup=2 * HOUR), found.next, now) == Due(None, NOON + 5 * HOUR, NOON + 6 * HOUR)


def test_where_all_of_it_was_missed_the_next_time_is_in_the_future() -> None:
    assert look(hourly(catchup=10), NOON, NOON + 90) == Due(Missed(NOON, NOON, 1), None, NOON + HOUR)


def test_years_of_missed_minutes_are_not_counted_one_by_one() -> None:
    timing = Timing("1/s", "* * * * *", "UTC", 600, 0)
    found = look(timing, NOON, NOON + 3 * 365 * 86400)
    assert found.missed is not None and found.fire is not None
    assert (found.missed.more, found.missed.first) == (True, NOON)
    assert MAX_COUNTED <= found.missed.count < MAX_COUNTED + 15
    assert found.fire == NOON + 3 * 365 * 86400 - 600
    assert "more than" in found.missed.sentence()


def test_lateness_is_counted_from_the_jittered_time() -> None:
    timing = hourly(catchup=10, jitter=1800)
    wake = timing.wake(NOON)
    assert look(timing, NOON, wake - 0.01).fire is None
    assert look(timing, NOON, wake + 10).fire == NOON
    assert look(timing, NOON, wake + 10.1).missed == Missed(NOON, NOON, 1)


@given(due=st.floats(0, 4e9), jitter=st.floats(0.001, 86400), name=st.text(max_size=20))
def test_jitter_is_the_same_everywhere_and_within_its_bound(due: float, jitter: float, name: str) -> None:
    timing = Timing(name, "0 * * * *", "UTC", 60, jitter)
    assert due <= timing.wake(due) <= due + jitter
    assert timing.wake(due) == Timing(name, "0 * * * *", "UTC", 60, jitter).wake(due)


def test_jitter_spreads_times_and_schedules() -> None:
    shares = [(hourly(jitter=100).wake(NOON + n * HOUR) - n * HOUR - NOON) for n in range(200)]
    assert min(shares) < 10 and max(shares) > 90
    assert Timing("2/s", "0 * * * *", "UTC", 60, 100).wake(NOON) != hourly(jitter=100).wake(NOON)


@settings(max_examples=80, deadline=None)
@given(
    looks=st.lists(st.floats(0, 7 * HOUR), min_size=1, max_size=12),
    catchup=st.floats(10, 4 * HOUR),
    jitter=st.sampled_from([0.0, 30.0, 2 * HOUR]),
)
def test_whenever_one_looks_each_due_time_is_fired_or_missed_once(
    looks: list[float], catchup: float, jitter: float
) -> None:
    timing = hourly(catchup, jitter)
    fired: list[float] = []
    missed = 0
    due: float | None = NOON
    now = NOON
    for pause in looks:
        now += pause
        while due is not None:
            found = look(timing, due, now)
            missed += found.missed.count if found.missed else 0
            due = found.next
            if found.fire is None:
                break
            assert 0 <= now - timing.wake(found.fire) <= catchup
            fired.append(found.fire)
    assert due is not None and timing.wake(due) > now
    assert len(fired) + missed == round((due - NOON) / HOUR)
    assert len(set(fired)) == len(fired)


#: policy: (idle, a run goes, a run goes and one waits, only a backfill goes, a backfill goes and one waits)
OVERLAPS = {
    "skip": ("start", "skip", "skip", "wait", "skip"),
    "buffer_one": ("start", "wait", "skip", "wait", "skip"),
    "buffer_all": ("start", "wait", "wait", "wait", "wait"),
    "cancel_other": ("start", "wait", "wait", "wait", "wait"),
    "terminate_other": ("start", "wait", "wait", "wait", "wait"),
    "allow_all": ("start", "start", "start", "start", "start"),
}
SITUATIONS = (Busy(), Busy(1), Busy(1, 0, 1), Busy(0, 1), Busy(0, 1, 1))


@pytest.mark.parametrize(("policy", "index"), list(itertools.product(POLICIES, range(len(SITUATIONS)))))
def test_what_a_due_time_does_while_others_go(policy: str, index: int) -> None:
    verdict = decide(policy, SITUATIONS[index])
    assert verdict.do == OVERLAPS[policy][index]
    assert bool(verdict.why) == (verdict.do == "skip")
    assert verdict.replaces == (policy in ("cancel_other", "terminate_other") and index > 0)


def test_a_buffer_is_bounded() -> None:
    assert decide("buffer_all", Busy(1, 0, MAX_WAITING - 1)).do == "wait"
    assert decide("buffer_all", Busy(1, 0, MAX_WAITING)).do == "skip"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cause", ["due", "backfill", "manual"])
def test_what_waits_starts_when_nothing_of_the_schedule_goes(policy: str, cause: str) -> None:
    assert may_start(policy, cause, Busy(waiting=3))
    free = policy == "allow_all"
    assert may_start(policy, cause, Busy(running=1)) is free
    assert may_start(policy, cause, Busy(backfilling=1)) is free
    assert may_start(policy, cause, Busy(backfilling=5)) is (free and cause != "backfill")
