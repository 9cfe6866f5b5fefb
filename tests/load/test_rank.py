"""Ranks: a priority passes, an age catches up, and a flow with a thousand runs takes turns with a single one."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.rank import DEBT_MAX, LAG_MAX, MAX_LINES, SHARE, SPAN, Lines, lag_of, rank

priorities = st.integers(-10, 10)
seconds = st.floats(0, 1000)


@given(priorities, priorities, st.integers(0, 5000), seconds, seconds, st.floats(0.001, 1000))
def test_nothing_is_passed_by_what_comes_a_span_later(
    p: int, q: int, before: int, lag: float, lag_2: float, more: float
) -> None:
    lines = Lines()
    for _ in range(min(before, 1200)):
        lines.place(1, p, 1000.0, lag)
    first = rank(lines.place(1, p, 1000.0, lag), p)
    later = rank(Lines().place(2, q, 1000.0 + SPAN + more, lag_2), q)
    assert first < later
    assert SPAN <= 60  # what "the lowest starts within a minute" rests on


@given(seconds, st.floats(0, LAG_MAX), priorities)
def test_the_lag_is_read_back_from_the_rank_whatever_the_priority(now: float, lag: float, priority: int) -> None:
    now += 1e6
    placed = rank(Lines().place(1, priority, now, lag), priority)
    assert lag_of(now, placed, priority) == pytest.approx(lag, abs=1e-6)


def test_a_higher_priority_goes_first_and_nothing_ready_means_no_lag() -> None:
    assert rank(100.0, 1) < rank(100.0, 0) < rank(100.0, -1)
    assert lag_of(100.0, None) == 0.0 == lag_of(100.0, 200.0)


def test_rows_of_a_flow_keep_their_order_within_bounds_and_lines_are_forgotten() -> None:
    lines = Lines()
    places = [lines.place(1, 0, 100.0, 5.0) for _ in range(5000)]
    assert places == sorted(places) and places[:2] == [95.0, 95.0 + SHARE] and places[-1] == 100.0 + DEBT_MAX
    assert lines.place(2, 0, 100.0, 5.0) == 95.0
    assert lines.place(1, 0, 200.0, 0.0) == 200.0  # what it had in line is long served
    for flow in range(3 * MAX_LINES):
        lines.place(flow, 0, 1000.0 + flow, 0.0)
    assert len(lines.last) <= MAX_LINES


@dataclass(order=True)
class Row:
    rank: float
    number: int
    flow: int = field(compare=False)
    priority: int = field(compare=False)
    at: float = field(compare=False)


@dataclass
class Machine:
    """Serves one row each `service` seconds, by rank: what the claim does, with arrivals in the order of time."""

    service: float
    lines: Lines = field(default_factory=Lines)
    line: list[Row] = field(default_factory=list)
    begun: list[tuple[Row, float]] = field(default_factory=list)
    made: int = 0

    def arrive(self, now: float, flow: int, priority: int = 0) -> None:
        head = self.line[0] if self.line else None
        lag = lag_of(now, head.rank, head.priority) if head else 0.0
        placed = rank(self.lines.place(flow, priority, now, lag), priority)
        self.made += 1
        heapq.heappush(self.line, Row(placed, self.made, flow, priority, now))

    def run(self, arrivals: list[tuple[float, int, int]], until: float) -> None:
        """`arrivals`: (time, flow, priority)."""
        coming, now = sorted(arrivals), 0.0
        while now < until and (coming or self.line):
            while coming and coming[0][0] <= now:
                self.arrive(*coming.pop(0))
            if self.line:
                self.begun.append((heapq.heappop(self.line), now))
            now += self.service

    def waits(self, flow: int) -> list[float]:
        return [at - row.at for row, at in self.begun if row.flow == flow]


@pytest.mark.parametrize("later", [0.0, 0.5, 5.0, 20.0])
@pytest.mark.parametrize("service", [0.005, 0.05])
def test_a_flow_that_dumps_a_thousand_runs_does_not_starve_a_single_run(later: float, service: float) -> None:
    machine = Machine(service)
    machine.run([(0.0, 1, 0)] * 1000 + [(later, 2, 0)], until=200)
    [wait] = machine.waits(2)
    assert wait <= 3 * service and len(machine.waits(1)) == 1000


def test_two_flows_with_much_to_do_take_turns() -> None:
    machine = Machine(0.02)
    machine.run([(0.0, 1, 0)] * 600 + [(1.0, 2, 0)] * 300, until=100)
    served = [row.flow for row, at in machine.begun if 1.0 <= at <= 8.0]
    assert 0.3 < served.count(2) / len(served) < 0.9


@settings(max_examples=25, deadline=None)
@given(st.integers(-10, 10), st.floats(0.9, 1.0), st.integers(1, 30), st.floats(0, 30))
def test_the_lowest_priority_begins_within_a_minute_at_saturation(
    others: int, load: float, flows: int, at: float
) -> None:
    service = 0.1
    times = [n * service / load for n in range(int(120 / service))]
    machine = Machine(service)
    machine.run([(t, 10 + n % flows, others) for n, t in enumerate(times)] + [(at, 1, -10)], until=120)
    [wait] = machine.waits(1)
    assert wait <= 60


def test_with_fixed_ranks_alone_a_high_priority_passes_a_backlog_at_once() -> None:
    machine = Machine(0.01)
    machine.run([(0.0, 1, 0)] * 2000 + [(5.0, 1, 10)], until=30)
    [wait] = [at - row.at for row, at in machine.begun if row.priority == 10]
    assert wait <= 0.1
