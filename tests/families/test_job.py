"""What people read of a job before they approve it: what the runner is given is what happens."""

from __future__ import annotations

from typing import Any

import pytest

from flows.steps.registry import family
from tests.families.attempt import resolve


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"input": {"action": "drain", "n": 2}}, 'run its own handler, given action = "drain", n = 2'),
        ({"input": [1, 2]}, "run its own handler, given [1,2]"),
        ({}, "run its own handler"),
        ({"command": ["fix", "a b"], "input": {"a": "x" * 300}}, "run fix 'a b', given a = \"" + "x" * 194 + "…"),
    ],
)
def test_the_sentence_says_what_the_runner_is_given(config: dict[str, Any], said: str) -> None:
    action = resolve("job", {"labels": ["linux", "gpu"], **config})
    assert family("job").describe(action) == f"Has a runner with linux, gpu {said}"
