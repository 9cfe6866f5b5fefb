"""A log with an entry of each shape, and people who may and may not read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from resources import audit
from resources.access import Actor
from resources.models import AuditEntry
from resources.tokens import create_token
from tests.api.conftest import Caller
from tests.pages import seed

PEOPLE = {"root": ("admin",), "vera": ("viewer",), "oscar": ("operator",)}


@pytest.fixture
def people(db: None) -> dict[str, Any]:
    """root administers everything; vera views and oscar operates everything; ada administers one folder."""
    found = {name: seed.person(name, roles=roles) for name, roles in PEOPLE.items()}
    return {**found, "ada": seed.person("ada", roles=("admin",), folder="payments")}


@pytest.fixture
def client_of(people: dict[str, Any]) -> Callable[[str], Client]:
    def enter(name: str) -> Client:
        client = Client()
        client.force_login(people[name])
        return client

    return enter


@pytest.fixture
def api_of(people: dict[str, Any]) -> Callable[[str], Caller]:
    def enter(name: str) -> Caller:
        return Caller(create_token(actor=Actor.system("test"), user=people[name], name="test")[1])

    return enter


def note(action: str, object_id: str = "ci", *, who: Actor | None = None, kind: str = "", **data: Any) -> AuditEntry:
    with transaction.atomic():
        return audit.record(
            actor=who or Actor("user", "ana", address="192.0.2.7"),
            action=action,
            object_type=kind or action.partition(".")[0],
            object_id=object_id,
            data=data,
        )


@pytest.fixture
def log(db: None) -> list[AuditEntry]:
    """Six entries, with what is hard to carry in a file."""
    return [
        note("flow.created", "greet", folder="payments"),
        note(
            "connection.updated", before={"url": "https://a.example", "retries": 1}, after={"url": "https://b.example"}
        ),
        note("circuit.opened", kind="connection", reason='upkeep "tonight"', before="closed"),
        note("token.created", "12", who=Actor("user", "=cmd|'/c calc'!A0", address="2001:db8::7"), name="' or 1"),
        note("run.cancelled", "é\n,;\"'", who=Actor.system("retention"), text="a\u0000\ud800\r\nb", number=1.5),
        note("flow.moved", "greet", before={"folder": "a"}, after={"folder": "b"}, reason="@home"),
    ]


def tamper(*statements: str) -> None:
    """Change rows as somebody with the database in hand would: past the triggers."""
    table = "resources_auditentry"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            lift, restore = [f"ALTER TABLE {table} DISABLE TRIGGER USER"], [f"ALTER TABLE {table} ENABLE TRIGGER USER"]
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
            rows = cursor.fetchall()
            lift, restore = [f"DROP TRIGGER {name}" for name, _ in rows], [sql for _, sql in rows]
        for statement in [*lift, *statements, *restore]:
            cursor.execute(statement)
