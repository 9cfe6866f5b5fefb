"""A clock that is set must not make living workers look dead."""

from __future__ import annotations

import pytest

from runs import clock

LEASE = 30.0


def test_a_steady_clock_is_trusted() -> None:
    guard = clock.JumpGuard()
    assert all(guard.trusts(1000.0 + t, 50.0 + t, LEASE) for t in range(0, 600, 20))


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_after_a_jump_takeovers_wait_one_lease(jump: float) -> None:
    guard = clock.JumpGuard()
    assert guard.trusts(1000.0, 50.0, LEASE)
    assert not guard.trusts(1001.0 + jump, 51.0, LEASE)
    assert not guard.trusts(1029.0 + jump, 80.0, LEASE)
    assert guard.trusts(1031.0 + jump, 81.0, LEASE)
