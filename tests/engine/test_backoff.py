"""When to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.definition.plan import Retry
from runs.engine.backoff import may_help, next_try

policies = st.builds(
    Retry,
    max_attempts=st.integers(1, 100),
    initial=st.floats(0, 1000),
    factor=st.floats(1, 100),
    max=st.floats(0, 86400),
    jitter=st.sampled_from(["full", "none"]),
    window=st.none() | st.floats(0, 1e6),
)


@pytest.mark.parametrize(
    ("tries", "rand", "delay"),
    [(1, 1.0, 1.0), (2, 1.0, 2.0), (3, 1.0, 4.0), (3, 0.5, 2.0), (3, 0.0, 0.0), (7, 1.0, 60.0), (900, 1.0, 60.0)],
)
def test_full_jitter_is_uniform_under_a_capped_exponential(tries: int, rand: float, delay: float) -> None:
    assert next_try(Retry(max_attempts=1000), tries=tries, first_at=0, now=100.0, rand=rand) == 100.0 + delay


@given(
    policies, st.integers(1, 200), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 1e5),
)  # fmt: skip
def test_a_retry_keeps_every_bound(policy: Retry, tries: int, now: float, rand: float, after: float | None) -> None:
    at = next_try(policy, tries=tries, first_at=0.0, now=now, rand=rand, after=after)
    if at is None:
        assert tries >= policy.max_attempts or policy.window is not None
        return
    assert tries < policy.max_attempts
    assert now <= at <= now + max(policy.max, after or 0.0)
    assert after is None or at >= now + after
    assert policy.window is None or at <= policy.window


@pytest.mark.parametrize(
    ("policy", "cls", "expected"),
    [
        (Retry(), "timeout", True),
        (Retry(give_up_on=("timeout",)), "timeout", False),
        (Retry(on=("connect",)), "timeout", False),
        (Retry(on=("timeout",), give_up_on=("timeout",)), "timeout", False),
    ],
)
def test_give_up_on_beats_on(policy: Retry, cls: str, expected: bool) -> None:
    assert may_help(policy, cls) is expected
