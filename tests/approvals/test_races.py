"""People who decide in the same instant, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.databases import Templates


@pytest.fixture(params=["sqlite", "postgres"])
def race(request: pytest.FixtureRequest, tmp_path: Path, templates: Templates, django_db_blocker: Any) -> Any:
    with django_db_blocker.unblock():
        url = templates.copy(request.param)
    env = {**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "orchestra.settings"}

    def run(quorum: int, *voters: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.approvals.race", str(quorum), *voters]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


def test_of_two_who_approve_at_once_exactly_one_answers_the_wait(race: Any) -> None:
    result = race(1, "approve:rita", "approve:rolf")
    assert result == {
        "outcomes": ["already_decided", "approved"],
        "delivered": ["approved"],
        "status": "approved",
        "events": 1,
    }


def test_approval_and_rejection_at_once_give_one_answer(race: Any) -> None:
    result = race(1, "approve:rita", "reject:rolf")
    assert len(result["delivered"]) == 1
    assert result["outcomes"] == sorted(["already_decided", result["status"]])


def test_a_quorum_of_two_at_once_is_reached_once_and_nobody_counts_twice(race: Any) -> None:
    result = race(2, "approve:rita", "approve:rita", "approve:rolf", "approve:remy")
    assert result["delivered"] == ["approved"]
    assert result["outcomes"] == ["already_decided", "already_decided", "approved", "open"]
    assert result["events"] == 2
