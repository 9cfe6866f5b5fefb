"""`make chaos` in short: every check, both databases, a minute of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.chaos.catalog import SHARES
from tests.chaos.faults import EVERYWHERE, ON_POSTGRES, ON_SQLITE, SLOW, plan
from tests.chaos.load import Load
from tests.chaos.outside import Crew, Outside
from tests.chaos.plants import PLANTS
from tests.services import ROOT


def test_the_plan_of_faults_is_the_same_for_a_seed_and_has_every_kind() -> None:
    faults = plan(1, 500, 0.9, postgres=True)
    assert faults == plan(1, 500, 0.9, postgres=True) != plan(2, 500, 0.9, postgres=True)
    assert {f.kind for f in faults} == {*EVERYWHERE, *ON_POSTGRES}
    assert {f.kind for f in plan(1, 500, 0.9, postgres=False)} == {*EVERYWHERE, *ON_SQLITE}


PROMISED = {
    "kill worker", "kill pusher", "kill sentinel", "kill cluster", "kill web", "stop worker", "host clock",
    "world is slow", "world fails", "world drops",
}  # fmt: skip
ON_ONE = {
    True: {"database crashes", "connections cut", "database clock", "redis flushed", "redis stopped"},
    False: {"database locked"},
}


@pytest.mark.parametrize("on_postgres", [False, True])
def test_the_whole_campaign_has_each_fault_that_was_promised_several_times(on_postgres: bool) -> None:
    hits = Counter(fault.kind for fault in plan(1, 500, 0.9, postgres=on_postgres))
    assert {kind for kind, count in hits.items() if count >= 5} >= PROMISED | ON_ONE[on_postgres]
    assert max(SLOW) / 1000 > 5, "an answer after the attempt's timeout"


class Quiet(Outside):
    """Takes everything."""

    def __init__(self) -> None:
        super().__init__([], "")

    def send(self, *_: Any, **__: Any) -> tuple[int, Any]:
        return 202, {"run": "r", "id": "r"}

    def api(self, *_: Any, **__: Any) -> tuple[int, Any]:
        return 201, {"id": "r"}


def test_callbacks_and_starts_meet_each_fate_that_was_promised() -> None:
    crew = Crew(0)
    load = Load(Quiet(), crew, lambda run, step: "", 1, SHARES)
    for number in range(500):
        load.start(number)
    fates = ("early", "once", "twice", "reordered", "late", "dropped")
    assert min(load.counts[f"callback {fate}"] for fate in fates) >= 5 and load.counts["starts repeated"] > 100
    assert not load.findings and crew.errands, "answers, pauses and cancels are on their way"


def test_every_planted_fault_still_finds_what_it_spoils() -> None:
    """In a process of its own, since it spoils the program there."""
    spoil = """
import importlib, django
django.setup()
from tests.chaos.plants import PLANTS
for name, (plants, _) in PLANTS.items():
    for path, plant in plants:
        module = importlib.import_module(path)
        before = set(vars(module))
        plant(module)
        assert set(vars(module)) == before, (name, set(vars(module)) - before)
    print(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", spoil], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "orchestra.settings"},
    )  # fmt: skip
    assert set(done.stdout.split()) == set(PLANTS), done.stderr


@pytest.mark.stack
@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_nothing_is_lost_and_nothing_happens_twice_under_chaos(database: str) -> None:
    argv = [sys.executable, "-m", "tests.chaos.campaign", "--database", database, "--lease", "3"]
    argv += ["--runs", "60", "--faults", "15", "--every", "0.8"]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["breaches"] == []
    assert found["runs"] == sum(found["ended"].values()) == found["folded_again"] >= found["asked_for"] == 60
    assert found["faults"] > 5 and found["effects"] > 60
