"""A database that is full, read-only or away: a sentence somebody can act on, and nothing half-written."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from django.db import DataError, Error, InterfaceError, InternalError, OperationalError
from django.test import Client

from flows.models import Flow
from resources.unavailable import unavailable
from runs import actions
from runs.models import Run, RunEvent, Work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (OperationalError("database or disk is full"), "disk of the database is full"),
        (OperationalError('could not extend file "base/1": No space left on device'), "disk of the database is full"),
        (OperationalError("attempt to write a readonly database"), "may not be written"),
        (InternalError("cannot execute INSERT in a read-only transaction"), "may not be written"),
        (OperationalError("unable to open database file"), "cannot be used"),
        (OperationalError("disk I/O error"), "cannot be used"),
        (OperationalError("database is locked"), "is busy"),
        (OperationalError("connection refused"), "cannot be reached"),
        (InterfaceError("connection already closed"), "cannot be reached"),
    ],
)
def test_a_database_that_cannot_do_its_work_has_a_sentence(error: Error, part: str) -> None:
    said = unavailable(error)
    assert (
        said is not None
        and part in said.message
        and said.hint
        and (said.status, said.code) == (503, "database_unavailable")
    )


@pytest.mark.parametrize("error", [DataError("disk is full"), InternalError("a bug"), ValueError("disk is full")])
def test_what_is_a_bug_stays_one(error: Exception) -> None:
    assert unavailable(error) is None


def full(*_: Any, **__: Any) -> None:
    raise OperationalError("database or disk is full") from sqlite3.OperationalError("database or disk is full")


def test_a_start_that_the_disk_has_no_room_for_is_told_so_and_leaves_nothing(
    live_flow: Flow, person: Any, call_as: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = person("olga", "operator")
    monkeypatch.setattr(actions, "start_run", full)
    refused = call_as(olga)("POST", "/flows/greet/runs", {"input": {}})
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert refused.json()["error"]["code"] == "database_unavailable" and "DATA_DIR" in refused.json()["error"]["hint"]
    page = Client()
    page.force_login(olga)
    monkeypatch.setattr("runs.views.render", full)
    shown = page.get("/runs")
    assert shown.status_code == 503 and "disk of the database is full" in shown.content.decode()
    assert not (Run.objects.exists() or RunEvent.objects.exists() or Work.objects.exists())
