"""A workspace with something to find in two folders, and the index brought up to date as the keeper does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources import artifacts, connections
from resources.access import Actor
from resources.models import Artifact
from runs.models import Run
from runs.outbound.horizon import last_id
from runs.search import hits, keeping
from runs.search.finding import Asked
from tests.flows.conftest import person
from tests.resources.conftest import make_user

__all__ = ["person"]
SYSTEM = Actor.system("test")
SOURCE = """\
flow: {slug}
folder: {folder}
title: {title}
labels: {{team: "{team}"}}
input:
  type: object
  properties:
    note: {{type: string}}
    card: {{type: string, x-sensitive: true}}
steps:
  - id: {step}
    sleep: 1s
"""


def make_flow(slug: str, folder: str, title: str, *, step: str = "rest", team: str = "ops", live: bool = True) -> Flow:
    text = SOURCE.format(slug=slug, folder=folder, title=title, step=step, team=team)
    create_flow(actor=SYSTEM, source=text)
    if live:
        release_draft(actor=SYSTEM, slug=slug, version="1.0.0", live=True)
    return Flow.objects.get(slug=slug)


def make_run(flow: Flow, **more: Any) -> Run:
    from runs.actions import start_run

    run = start_run(actor=SYSTEM, flow=flow, input=more.pop("input", {})).run
    Run.objects.filter(pk=run.pk).update(**more)
    run.refresh_from_db()
    return run


def make_resource(text: str, *, name: str = "notes.txt", folder: str = "team", **more: Any) -> Artifact:
    return artifacts.write([text.encode()], content_type="text/plain", name=name, folder=folder, **more)


def catch_up() -> None:
    while keeping.step(last_id(), time.time()):
        pass


def ids(actor: Actor, query: str, **more: Any) -> list[str]:
    return [hit.id for hit in hits.search(actor, Asked(query, **more)).hits]


@pytest.fixture
def place(db: None, settings: Any, tmp_path: Path) -> dict[str, Any]:
    settings.MEDIA_ROOT = tmp_path
    greet = make_flow("greet", "team", "Greet somebody", step="wave")
    pay = make_flow("pay-out", "payments/eu", "Pay out the Überweisung", step="transfer", team="money")
    connections.create_connection(
        actor=SYSTEM,
        name="bank",
        kind="http",
        settings={"base_url": "https://bank.example.com", "auth": {"type": "none"}},
    )
    found = {
        "greet": greet, "pay": pay,
        "run": make_run(greet, input={"note": "hello crocodile", "card": "4111-2222"}),
        "hidden": make_run(pay, input={"note": "crocodile tears"}, status="failed", error={"class": "http_5xx",
                           "message": "The ledger was closed.", "step": "transfer"}),
        "notes": make_resource("A crocodile is no alligator.", labels={"kind": "animal"}),
        "ledger": make_resource("alligator ledger", name="ledger.csv", folder="payments"),
        "admin": Actor.of_user(make_user("ada", "admin")),
        "vera": Actor.of_user(make_user("vera", "viewer", folder="team")),
        "otto": Actor.of_user(make_user("otto")),
    }  # fmt: skip
    catch_up()
    return found


Search = Callable[..., list[str]]
