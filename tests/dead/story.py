"""Runs that give up, by the real worker."""

from __future__ import annotations

from typing import Any

import pytest

from flows.models import Flow
from resources.access import Actor
from resources.models import Grant
from runs.actions import start_run
from runs.models import Run
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, make_flow
from tests.engine.test_store_queue import drain
from tests.resources.conftest import make_user

#: for what does not depend on the database's kind, and for what is slow
ON_SQLITE: pytest.MarkDecorator = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
ON_POSTGRES: pytest.MarkDecorator = pytest.mark.parametrize("database", ["postgres"], indirect=True)

BREAKS = """
flow: breaks
folder: payments
input: {type: object, properties: {n: {type: integer}, fine: {type: boolean}}}
steps:
  - id: think
    if: "${{ !has(input.fine) }}"
    function: {code: "1 / 0"}
"""


def breaking(slug: str = "breaks", folder: str = "payments", more: str = "") -> Flow:
    source = BREAKS.replace("flow: breaks", f"flow: {slug}").replace("folder: payments", f"folder: {folder}")
    flow = make_flow(source.replace("steps:", f"{more}\nsteps:", 1))
    flow.folder = folder
    flow.save(update_fields=["folder"])
    return flow


def start(flow: Flow, **given: Any) -> Run:
    return start_run(actor=SYSTEM, flow=flow, input=given).run


def dead(flow: Flow, count: int = 1, **given: Any) -> list[str]:
    """Ids of runs that gave up, the oldest first; each with an input of its own unless one is given."""
    found = [start(flow, **(given or {"n": n})).pk for n in range(count)]
    drain(Worker("w"))
    assert set(Run.objects.filter(pk__in=found).values_list("status", flat=True)) == {"failed"}
    return found


def operator(name: str = "olga", *folders: str) -> Actor:
    user = make_user(name)
    for folder in folders or ("payments",):
        Grant.objects.create(user=user, role="operator", folder=folder)
    return Actor.of_user(user)
