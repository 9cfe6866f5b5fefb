"""wait and sleep hold no worker: they say until when."""

from __future__ import annotations

from typing import Any

import pytest

from flows.steps.base import Wait
from flows.steps.registry import family
from tests.families.attempt import attempt, resolve


def wait(name: str, config: Any) -> Wait:
    outcome = attempt(name, config).outcome
    assert isinstance(outcome, Wait)
    return outcome


@pytest.mark.parametrize("config", ["10m", {"duration": "10m"}, 600, {"duration": "${{ '10' + 'm' }}"}])
def test_sleep_is_a_timer(config: Any) -> None:
    asleep = wait("sleep", config)
    assert (asleep.kind, asleep.timeout, asleep.until) == ("timer", 600.0, None)


@pytest.mark.parametrize(
    "moment", ["2026-05-01T09:00:00+02:00", "2026-05-01T07:00:00Z", 1777618800, "${{ 1777618800 }}"]
)
def test_wait_until_is_a_timer_for_a_moment(moment: Any) -> None:
    waiting = wait("wait", {"until": moment})
    assert (waiting.kind, waiting.timeout, waiting.until) == ("timer", None, 1777618800.0)


def test_wait_for_a_callback_expires() -> None:
    waiting = wait("wait", {"callback": {"timeout": "1h"}})
    assert (waiting.kind, waiting.timeout) == ("callback", 3600.0)
    assert waiting.spec == {"url": "https://orchestra.test/callbacks/step"}


def test_a_callback_without_a_timeout_waits_a_day() -> None:
    assert wait("wait", {"callback": None}).timeout == 86400.0


@pytest.mark.parametrize(
    ("name", "config", "sentence"),
    [
        ("sleep", "90s", "Sleeps for 90 seconds"),
        ("wait", {"callback": {"timeout": "1h"}}, "Waits up to 3600 seconds for a callback"),
        ("wait", {"until": 1777618800}, "Waits until 2026-05-01 07:00:00 UTC"),
    ],
)
def test_describes_itself(name: str, config: Any, sentence: str) -> None:
    assert family(name).describe(resolve(name, config)) == sentence
