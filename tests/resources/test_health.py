"""How connections fare: noted cheaply, told truly."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.test.utils import CaptureQueriesContext

from resources import connections, health, probe
from resources.access import Actor
from resources.connection_past import about, changed
from resources.models import Connection, ConnectionHealth
from tests.resources.server import plain, serve

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
URL = "https://api.example.com/v1"


@pytest.fixture
def ci(admin: Actor) -> Connection:
    health.forget_notes()
    return connections.create_connection(actor=admin, name="ci", kind="http", settings={"base_url": URL})


def state(row: Connection) -> tuple[str, str]:
    return health.summary(ConnectionHealth.objects.filter(connection=row).first())


def test_a_use_is_noted_once_a_minute_in_one_statement(ci: Connection, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        for second in range(60):
            health.note_use(ci.pk, 1000.0 + second)
    assert ConnectionHealth.objects.get().used_at == 1000.0
    health.note_use(ci.pk, 1060.0)
    assert ConnectionHealth.objects.get().used_at == 1060.0


def test_a_failure_shows_and_its_recovery_at_once(ci: Connection) -> None:
    assert state(ci) == ("queued", "Not used yet")
    health.note_use(ci.pk, 1000.0)
    assert state(ci) == ("succeeded", "Works")
    health.note_use(ci.pk, 1001.0, "it \0 answered 503")
    assert state(ci) == ("failed", "Last use failed")
    assert ConnectionHealth.objects.get().failure == "it  answered 503"
    health.note_use(ci.pk, 1002.0, "again")
    assert state(ci) == ("failed", "Last use failed")
    health.note_use(ci.pk, 1003.0)
    assert state(ci) == ("succeeded", "Works")


def test_a_busy_database_costs_a_note_and_nothing_else(ci: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(health, "_write", busy)
    health.note_use(ci.pk, 1000.0)
    assert not ConnectionHealth.objects.exists()


def test_a_test_is_told_on_its_page_with_uses_and_changes(ci: Connection, admin: Actor) -> None:
    with serve({"/v1": plain(200), "/down": plain(503)}) as server:
        for path, ok in (("/v1", "queued"), ("/down", "failed")):
            settings = {"base_url": server.url(path), "allow_networks": ["127.0.0.0/8"]}
            connections.update_connection(actor=admin, name="ci", settings=settings)
            probe.test_connection(actor=admin, name="ci")
            told = about(ci.pk, "ci")
            assert told["state"] == {"queued": "succeeded"}.get(ok, ok)
    assert "503" in told["health"]["test_message"]
    words = [(c["words"], c["version"]) for c in told["changes"]]
    assert words == [("Tested", 3), ("Changed", 3), ("Tested", 2), ("Changed", 2), ("Added", 1)]
    assert told["changes"][1]["changed"] == ["base_url"]


def test_what_changed_is_named_and_never_shown() -> None:
    assert changed({"before": {"a": 1, "b": 2}, "after": {"a": 1, "b": 3, "c": 4}}) == ["b", "c"]
    assert changed({}) == []


def test_its_health_goes_with_a_connection(ci: Connection, admin: Actor) -> None:
    health.note_use(ci.pk, 1000.0)
    connections.delete_connection(actor=admin, name="ci")
    assert not ConnectionHealth.objects.exists()


def test_a_list_of_many_costs_as_many_queries_as_one_of_few(ci: Connection) -> None:
    from django.db import connection

    from resources.limits import overview

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            list(overview.listed(0.0))
        return len(found)

    few = queries()
    Connection.objects.bulk_create(Connection(name=f"c{n}", kind="http", settings={"base_url": URL}) for n in range(30))
    assert queries() == few
