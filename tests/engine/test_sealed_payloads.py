"""What runs keep in the database, sealed at rest: a story of runs leaves no word of theirs in the open."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from approvals.models import Decision
from resources import audit, sealed
from resources.access import Actor
from resources.models import AuditEntry, KvEntry
from runs import clock, filters, store
from runs.dead.letters import Filter, dead_letters
from runs.models import Run, RunEvent, SearchEntry, StepRun, Work
from runs.search.rebuilding import rebuild
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow
from tests.engine.sealed_story import ECHO, WORD, in_file, in_tables, tell, vacuum
from tests.engine.test_store_queue import drain

NEW_KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def sealing(settings: Any) -> None:
    settings.ENCRYPT_PAYLOADS = True
    settings.ENCRYPT_RESOURCES = True


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    """Deliveries to webhooks are noted in memory first."""
    from runs.incoming import deliveries

    deliveries._pending.clear()
    yield
    deliveries._pending.clear()


def rita() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.get(username="rita"))
    return client


def check_readable(runs: list[str]) -> None:
    """Folds, the audit chain, pages and the API."""
    for run in runs:
        check_fold(run)
    assert audit.verify() == []
    client, first = rita(), runs[0]
    page = client.get(f"/runs/{first}").content.decode()
    assert f"{WORD}-input" in page
    assert client.get(f"/api/v1/runs/{first}").json()["input"] == {"word": f"{WORD}-input"}
    assert Decision.objects.get().comment == f"{WORD}-comment"


def test_a_story_of_runs_leaves_no_word_of_theirs_in_the_database(database: str, sealing: None) -> None:
    runs = tell()
    assert dict(rebuild())["run"] == len(runs) == SearchEntry.objects.filter(kind="run").count()
    assert in_tables() == set()
    assert connection.vendor == "postgresql" or not in_file()
    check_readable(runs)


def test_what_was_in_the_open_is_sealed_by_command_and_then_sealed_anew_under_another_key(
    database: str, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.ENCRYPT_RESOURCES = True
    runs, expected = tell(), "runs_run.input runs_runevent.data approvals_decision.comment resources_auditentry.data"
    list(rebuild())
    assert in_tables() >= {*expected.split(), "runs_searchentry.body"}
    with pytest.raises(CommandError, match="Set ENCRYPT_PAYLOADS=1 for all processes first"):
        call_command("seal_payloads")
    settings.ENCRYPT_PAYLOADS = True
    call_command("seal_payloads")
    assert "runs_runevent: " in capsys.readouterr().out
    assert in_tables() == set()
    if connection.vendor != "postgresql":
        vacuum()
        assert not in_file()
    check_readable(runs)
    _rotate(settings)
    call_command("seal_payloads", check=True)
    assert capsys.readouterr().out.endswith("0 values are in the open.\n")
    check_readable(runs)
    drain(Worker("w"))


def _rotate(settings: Any) -> None:
    """The old key is needed until the command, and not after it."""
    [(old, key)] = settings.ENCRYPTION_KEYS.items()
    settings.ENCRYPTION_KEYS = {"k2": NEW_KEY, old: key}
    assert sealed.in_use().columns["payload"][old] > 50 and not sealed.in_use().droppable
    call_command("rotate_keys")
    assert set(sealed.in_use().columns["payload"]) == {"k2"} and sealed.in_use().droppable == [old]
    settings.ENCRYPTION_KEYS = {"k2": NEW_KEY}


def test_a_run_whose_key_is_missing_waits_says_so_and_goes_on_when_it_is_back(
    database: str, sealing: None, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run, ring = begin(make_flow(ECHO), word=WORD), settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = {"k2": NEW_KEY}
    with caplog.at_level(logging.ERROR):
        for _ in range(7):  # more often than a run that breaks its worker is tried
            Work.objects.update(wake_at=clock.now() - 1)
            drain(Worker("w"))
    assert "The encryption key k1 is not in the key ring." in caplog.text
    assert (Run.objects.get().status, Work.objects.get().owner) == ("queued", None)
    get_user_model().objects.create_superuser("rita")
    answer = rita().get(f"/api/v1/runs/{run}")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "cannot_decrypt"
    assert "k1" in answer.json()["error"]["message"]
    settings.ENCRYPTION_KEYS = ring
    Work.objects.update(wake_at=clock.now() - 1)
    drain(Worker("w"))
    assert (Run.objects.get().status, Run.objects.get().output) == ("succeeded", WORD)


def test_a_value_put_into_another_row_does_not_open(database: str, sealing: None) -> None:
    flow = make_flow(ECHO)
    mine, other = begin(flow, word="mine"), begin(flow, word=WORD)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_run SET input = (SELECT input FROM runs_run WHERE id = %s) WHERE id = %s", [other, mine]
        )
    get_user_model().objects.create_superuser("rita")
    answer = rita().get(f"/api/v1/runs/{mine}")
    assert answer.json()["error"]["message"] == "A stored value (runs_run.input) was changed or moved."
    assert store.load(other) is not None


def test_history_decisions_and_audit_stay_append_only_where_they_may_be_sealed(database: str, sealing: None) -> None:
    begin(make_flow(ECHO), word=WORD)
    with transaction.atomic():
        audit.record(actor=SYSTEM, action="x.done", object_type="x", object_id="1", data={"a": 1})
    for model, name in ((RunEvent, "type"), (AuditEntry, "action")):
        changes: list[dict[str, Any]] = [{name: "y.done"}, {"data": {}}]
        for change in changes:
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                model.objects.update(**change)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.all().delete()


def test_a_tampered_entry_of_the_audit_log_is_found_and_the_page_shows_the_others(database: str, sealing: None) -> None:
    for n in (1, 2):
        with transaction.atomic():
            audit.record(actor=SYSTEM, action="x.done", object_type="x", object_id=str(n), data={"a": n})
    with connection.cursor() as cursor:  # what the database lets through: one sealed value for another
        cursor.execute("UPDATE resources_auditentry SET data = (SELECT data FROM resources_auditentry WHERE seq = 2)")
    assert [(f.seq, f.kind) for f in audit.verify()] == [(1, "edited")]
    get_user_model().objects.create_superuser("rita")
    assert rita().get("/audit").status_code == 200


def test_runs_are_found_by_what_stays_readable(database: str, sealing: None) -> None:
    failing = begin(
        make_flow('flow: bad\nsteps:\n  - {id: a, function: {code: "nothing"}, retry: {max_attempts: 1}}\n')
    )
    drain(Worker("w"))
    actor = Actor.of_user(get_user_model().objects.create_superuser("rita"))
    asked = [filters.Asked(trigger=kind) for kind in ("manual", "webhook")]
    assert [filters.in_scope(Run.objects.all(), a, clock.now()).count() for a in asked] == [1, 0]
    wanted = [Filter(q=text) for text in ("code", failing[:10], "NameError", "a")]
    assert [dead_letters(actor, one).count() for one in wanted] == [1, 1, 0, 1]


def test_values_that_were_there_before_the_setting_are_read_and_written_on(database: str, settings: Any) -> None:
    run = begin(make_flow(ECHO), word=WORD)
    KvEntry.objects.create(namespace="shared", key="a", value={"n": 1})
    settings.ENCRYPT_PAYLOADS = True
    drain(Worker("w"))
    check_fold(run)
    assert Run.objects.get().output == WORD and KvEntry.objects.get().value == {"n": 1}
    assert "runs_run.input" in in_tables() and "runs_run.output" not in in_tables()
    settings.ENCRYPT_PAYLOADS = False
    assert StepRun.objects.get().output == WORD
