"""The pure core of a connection's limits: whatever happens in whatever order, the rules hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from resources.limits import gate
from resources.limits.book import CLOSED, HALF_OPEN, OPEN, Book, close, most, open_by_hand, report, tick, totals
from resources.limits.config import Adaptive, BreakerRules, Limits, Rate
from resources.limits.gate import Grant, Held, Usage
from resources.limits.ledger import book_json, book_of

T0 = 1_000_000.0
RULES = st.builds(
    Limits,
    concurrency=st.integers(3, 6),
    rate=st.none() | st.builds(Rate, count=st.integers(1, 50), per=st.just("second"), burst=st.integers(1, 5)),
    breaker=st.none()
    | st.builds(
        BreakerRules, failures=st.integers(1, 4), open_for=st.sampled_from([1.0, 10.0]), half_open=st.integers(1, 3)
    ),
    adaptive=st.none() | st.builds(Adaptive, min=st.integers(1, 2), latency=st.sampled_from([None, 0.5])),
)


@dataclass
class One:
    """An attempt that was let through."""

    due: float
    probe: bool
    taken: float | None = None


class Line(RuleBasedStateMachine):
    """One connection, its attempts in any order, the clock going on by any steps."""

    @initialize(limits=RULES)
    def begin(self, limits: Limits) -> None:
        self.limits, self.now, self.book = limits, T0, Book()
        self.all: list[One] = []
        self.begun: list[float] = []

    def usage(self) -> Usage:
        busy = sum(o.taken is not None for o in self.all)
        return Usage(busy, len(self.all) - busy, sum(o.probe for o in self.all))

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 1.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.book = tick(self.limits, self.book, self.now)

    @rule()
    def ask(self) -> None:
        self.book = tick(self.limits, self.book, self.now)
        before = self.usage()
        self.book, verdict = gate.admit(self.limits, self.book, before, self.now)
        if isinstance(verdict, Held):
            assert verdict.why
            return
        assert self.book.breaker == CLOSED or verdict.probe, "only probes pass a breaker that is not closed"
        assert verdict.due >= self.book.shut_until or verdict.due >= self.now
        assert (verdict.due > self.now) == bool(verdict.why), "what is not now says why"
        self.all.append(One(verdict.due, verdict.probe))

    @precondition(lambda self: any(o.taken is None for o in self.all))
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([o for o in self.all if o.taken is None]))
        self.book = tick(self.limits, self.book, self.now)
        if gate.still_good(self.book, self.now, due=one.due, probe=one.probe):
            one.taken = self.now
            self.begun.append(self.now)
        elif one.due <= self.now:
            self.all.remove(one)
            self.book = gate.give_back(self.limits, self.book)

    @precondition(lambda self: any(o.taken is not None for o in self.all))
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "failed", "throttled", "unknown"]))
    def end(self, data: st.DataObject, outcome: Any) -> None:
        one = data.draw(st.sampled_from([o for o in self.all if o.taken is not None]))
        self.all.remove(one)
        took = self.now - (one.taken or self.now)
        after = data.draw(st.sampled_from([None, 5.0]))
        self.book = tick(self.limits, self.book, self.now)
        self.book = report(self.limits, self.book, outcome, self.now, probe=one.probe, seconds=took, after=after)

    @rule(opening=st.booleans())
    def by_hand(self, opening: bool) -> None:
        self.book = open_by_hand(self.book, self.now, "ada", "upkeep") if opening else close(self.book)

    @invariant()
    def never_more_than_allowed(self) -> None:
        if hasattr(self, "limits"):
            assert len(self.all) <= (self.limits.concurrency or 0)

    @invariant()
    def never_faster_than_the_rate(self) -> None:
        if hasattr(self, "limits") and self.limits.rate is not None:
            rate = self.limits.rate
            for start in self.begun:
                within = [t for t in self.begun if start <= t <= start + 1.0]
                # promises of before may begin late, so that they and the burst fall together
                assert len(within) <= rate.burst + rate.count + (self.limits.concurrency or 0) + 1

    @invariant()
    def an_adapted_limit_stays_within_its_bounds(self) -> None:
        if hasattr(self, "limits") and self.limits.adaptive is not None:
            assert self.limits.adaptive.min <= (most(self.limits, self.book) or 0) <= (self.limits.concurrency or 0)

    @invariant()
    def the_book_reads_back_as_it_was_written(self) -> None:
        if hasattr(self, "limits"):
            assert book_of(book_json(self.book)) == self.book

    @invariant()
    def somebody_gets_through_in_the_end(self) -> None:
        """With nothing under way, the next one gets a time, unless a person keeps the breaker open."""
        if hasattr(self, "limits") and not self.book.by:
            later = tick(self.limits, self.book, self.now + 20.0)
            assert isinstance(gate.admit(self.limits, later, Usage(), self.now + 20.0)[1], Grant)


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60), count=st.integers(1, 20), burst=st.integers(1, 5))
def test_over_any_time_no_more_begin_than_the_rate_and_one_burst(gaps: list[float], count: int, burst: int) -> None:
    limits = Limits(rate=Rate(count=count, burst=burst))
    book, now, begun = Book(), T0, []
    for gap in gaps:
        now += gap
        book = tick(limits, book, now)
        book, verdict = gate.admit(limits, book, Usage(), now)
        assert isinstance(verdict, Grant)
        begun.append(verdict.due)
        now = max(now, verdict.due)
    for i, start in enumerate(begun):
        for j in range(i, len(begun)):
            assert j - i + 1 <= burst + (begun[j] - start) * count + 1e-6


def after(*outcomes: str, limits: Limits, every: float = 0.1) -> Book:
    book, now = Book(), T0
    for outcome in outcomes:
        now += every
        book = report(limits, tick(limits, book, now), outcome, now)  # type: ignore[arg-type]
    return book


def breaker(**rules: Any) -> Limits:
    return Limits(breaker=BreakerRules(**{"failures": 3, **rules}))


def test_a_breaker_opens_at_the_failures_it_is_told_and_not_before() -> None:
    assert after("failed", "failed", limits=breaker()).breaker == CLOSED
    assert after("failed", "failed", "failed", limits=breaker()).breaker == OPEN
    assert after("failed", "unknown", "failed", "throttled", "failed", limits=breaker()).breaker == OPEN


def test_a_few_failures_among_many_answers_do_not_open_it() -> None:
    assert after(*["ok"] * 10, *["failed"] * 5, limits=breaker()).breaker == CLOSED
    assert after(*["ok"] * 10, *["failed"] * 10, limits=breaker()).breaker == OPEN


def test_failures_older_than_the_window_do_not_count() -> None:
    assert after("failed", "failed", "failed", limits=breaker(window=5), every=4.0).breaker == CLOSED
    book = after("failed", "ok", limits=breaker(window=5))
    assert totals(BreakerRules(window=5), book, T0 + 1) == (1, 1)
    assert totals(BreakerRules(window=5), book, T0 + 9) == (0, 0)


def test_all_probes_must_succeed() -> None:
    limits = breaker(half_open=2, open_for=1)
    book = tick(limits, after("failed", "failed", "failed", limits=limits), T0 + 5)
    assert book.breaker == HALF_OPEN
    one = report(limits, book, "ok", T0 + 5, probe=True)
    assert one.breaker == HALF_OPEN
    assert report(limits, one, "ok", T0 + 5, probe=True).breaker == CLOSED
    assert report(limits, one, "failed", T0 + 5, probe=True).breaker == OPEN
    assert report(limits, one, "ok", T0 + 5) == one, "an attempt of before says nothing new"


def test_what_was_opened_by_hand_stays_open_until_a_person_closes_it() -> None:
    book = tick(breaker(), open_by_hand(Book(), T0, "ada", "upkeep"), T0 + 10**6)
    assert book.breaker == OPEN
    assert isinstance(gate.admit(breaker(), book, Usage(), T0)[1], Held)
    assert close(book).breaker == CLOSED


@pytest.mark.parametrize(
    ("on_open", "has_fallback", "turned_away"),
    [("queue", True, False), ("queue", False, False), ("fallback", True, True), ("fallback", False, False),
     ("fail", True, True), ("fail", False, True)],
)  # fmt: skip
def test_who_waits_and_who_is_turned_away_by_an_open_breaker(
    on_open: str, has_fallback: bool, turned_away: bool
) -> None:
    limits = breaker(on_open=on_open)
    book = after("failed", "failed", "failed", limits=limits)
    assert gate.turns_away(limits, book, Usage(), has_fallback=has_fallback) is turned_away
    assert not gate.turns_away(limits, Book(), Usage(), has_fallback=has_fallback)


def test_slow_answers_shrink_the_limit_and_quick_ones_let_it_grow_back() -> None:
    limits = Limits(concurrency=10, adaptive=Adaptive(min=2, latency=0.5))
    book = report(limits, Book(), "ok", T0, seconds=2.0)
    assert most(limits, book) == 9
    assert report(limits, book, "ok", T0 + 0.1, seconds=2.0).adapted == book.adapted, "once a second"
    for i in range(40):
        book = report(limits, book, "ok", T0 + 2 * i, seconds=2.0)
    assert most(limits, book) == 2
    for i in range(60):
        book = report(limits, book, "ok", T0 + 100 + i, seconds=0.1)
    assert most(limits, book) == 10


def test_a_clock_that_was_set_back_gives_no_tokens() -> None:
    limits = Limits(rate=Rate(count=1, burst=3))
    book = tick(limits, Book(), T0)
    for _ in range(3):
        book, _ = gate.admit(limits, book, Usage(), T0)
    assert tick(limits, book, T0 - 3600).tokens == book.tokens
    assert tick(limits, tick(limits, book, T0 - 3600), T0 - 3599).tokens == pytest.approx(book.tokens + 1)


@pytest.mark.parametrize(
    "settings_",
    [{"concurrency": 0}, {"adaptive": {}}, {"concurrency": 2, "adaptive": {"min": 3}}, {"rate": {"count": 1, "per": "day"}},  # noqa: E501
     {"breaker": {"on_open": "shrug"}}, {"speed": 1}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(settings_)
