"""`make chaos` in short: every check, both databases, a minute of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.chaos.faults import EVERYWHERE, ON_POSTGRES, ON_SQLITE, plan
from tests.chaos.plants import PLANTS
from tests.services import ROOT


def test_the_plan_of_faults_is_the_same_for_a_seed_and_has_every_kind() -> None:
    faults = plan(1, 500, 0.9, postgres=True)
    assert faults == plan(1, 500, 0.9, postgres=True) != plan(2, 500, 0.9, postgres=True)
    assert {f.kind for f in faults} == {*EVERYWHERE, *ON_POSTGRES}
    assert {f.kind for f in plan(1, 500, 0.9, postgres=False)} == {*EVERYWHERE, *ON_SQLITE}


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
