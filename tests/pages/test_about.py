"""What a run is about, under its title."""

from __future__ import annotations

from typing import Any

import pytest

from runs.about import about

SCHEMA = {
    "required": ["repository", "tag"],
    "properties": {"url": {}, "repository": {}, "tag": {}, "environment": {}},
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tag": "v2", "repository": "octo/lamp", "environment": "production"}, "octo/lamp · v2"),
        ({"environment": "staging", "url": ""}, "staging"),
        ({"other": 3, "flag": True, "list": [1], "deep": {"a": 1}}, "3"),
        ({"tag": "two\nlines", "repository": "x" * 200}, "x" * 79 + "… · two lines"),
        ({}, ""),
        (["not", "an", "object"], ""),
    ],
)
def test_the_required_plain_values_say_what_a_run_is_about(given: Any, said: str) -> None:
    assert about(given, SCHEMA) == said
