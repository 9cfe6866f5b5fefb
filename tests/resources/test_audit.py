"""The audit log is a chain: every kind of tampering shows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from resources import audit
from resources.access import Actor
from resources.models import AuditEntry, AuditHead
from resources.trail import export, query

pytestmark = pytest.mark.db_matrix

ACTOR = Actor.system("test")


def record(number: int) -> AuditEntry:
    with transaction.atomic():
        data = {"n": number, "text": "é\u0000\ud800", "float": 1.5}
        return audit.record(actor=ACTOR, action="thing.done", object_type="thing", object_id=str(number), data=data)


@pytest.fixture
def five(db: None) -> None:
    for number in range(1, 6):
        record(number)


def tamper(*statements: str) -> None:
    """Change rows as somebody with the database in hand would: past the triggers."""
    with connection.cursor() as cursor:
        lift, restore = _trigger_switch()
        for statement in [*lift, *statements, *restore]:
            cursor.execute(statement)


def _trigger_switch() -> tuple[list[str], list[str]]:
    table = "resources_auditentry"
    if connection.vendor == "postgresql":
        return [f"ALTER TABLE {table} DISABLE TRIGGER USER"], [f"ALTER TABLE {table} ENABLE TRIGGER USER"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
        rows = cursor.fetchall()
    return [f"DROP TRIGGER {name}" for name, _ in rows], [sql for _, sql in rows]


def kinds() -> list[tuple[int, str]]:
    return [(finding.seq, finding.kind) for finding in audit.verify()]


def test_a_log_nobody_touched_is_whole(five: None) -> None:
    assert audit.verify() == []
    assert [e.seq for e in AuditEntry.objects.order_by("seq")] == [1, 2, 3, 4, 5]


EDITS: list[tuple[str, list[str], list[tuple[int, str]]]] = [
    ("a field", ["UPDATE resources_auditentry SET actor = 'mallory' WHERE seq = 3"], [(3, "edited")]),
    ("the data", ["UPDATE resources_auditentry SET data = '{\"n\":9}' WHERE seq = 1"], [(1, "edited")]),
    ("the address", ["UPDATE resources_auditentry SET address = '::1' WHERE seq = 5"], [(5, "edited")]),
    (
        "the data, which is no JSON now",
        ["UPDATE resources_auditentry SET data = 'fblse' WHERE seq = 2"],
        [(2, "edited")],
    ),
    ("the data, which is a list now", ["UPDATE resources_auditentry SET data = '[1]' WHERE seq = 2"], [(2, "edited")]),
    (
        "the data, nested too deep to be read",
        [f"UPDATE resources_auditentry SET data = '{'[' * 100_000}' WHERE seq = 2"],
        [(2, "edited")],
    ),
    ("the middle removed", ["DELETE FROM resources_auditentry WHERE seq = 3"], [(4, "missing")]),
    ("the first removed", ["DELETE FROM resources_auditentry WHERE seq = 1"], [(2, "missing")]),
    ("the tail removed", ["DELETE FROM resources_auditentry WHERE seq > 3"], [(5, "truncated")]),
    ("all removed", ["DELETE FROM resources_auditentry"], [(5, "truncated")]),
    ("the head removed", ["DELETE FROM resources_audithead"], [(5, "head")]),
    ("the head set back", ["UPDATE resources_audithead SET seq = 4"], [(4, "head"), (5, "added")]),
    (
        "one removed, the rest renumbered",
        [
            "DELETE FROM resources_auditentry WHERE seq = 3",
            "UPDATE resources_auditentry SET seq = 3 WHERE seq = 4",
            "UPDATE resources_auditentry SET seq = 4 WHERE seq = 5",
            "UPDATE resources_audithead SET seq = 4",
        ],
        [(3, "unlinked"), (3, "edited"), (4, "edited")],
    ),
]


@pytest.mark.parametrize(("what", "statements", "found"), EDITS, ids=[edit[0] for edit in EDITS])
def test_tampering_is_found(five: None, what: str, statements: list[str], found: list[tuple[int, str]]) -> None:
    tamper(*statements)
    assert kinds() == found


def test_a_time_that_is_none_is_found_and_what_cannot_be_read_hides_no_other_entry(five: None) -> None:
    if connection.vendor == "sqlite":  # PostgreSQL keeps nothing but times there
        tamper(
            "UPDATE resources_auditentry SET at = 'soon' WHERE seq = 2",
            "UPDATE resources_auditentry SET at = '2026-13-45 10:00:00' WHERE seq = 4",
        )
        assert kinds() == [(2, "edited"), (4, "edited")]
    tamper(
        "UPDATE resources_auditentry SET data = '{' WHERE seq IN (3, 5)",
        "DELETE FROM resources_auditentry WHERE seq = 1",
    )
    others = [finding for finding in kinds() if finding not in [(2, "edited"), (4, "edited")]]
    assert others == [(2, "missing"), (3, "edited"), (5, "edited")]
    root = Actor.system("test")
    shown = query.page(query.entries(root, query.Asked()), cursor=None, limit=10).items
    assert [entry.seq for entry in shown] == [5, 4, 3, 2]
    assert {finding.seq for finding in query.glance(shown)} >= {3, 5}
    assert "unreadable" in query.entry(root, 5).data
    exported = b"".join(export.pieces(query.entries(root, query.Asked()), "jsonl"))
    assert len(exported.splitlines()) == 4


def test_an_edit_whose_hash_was_made_again_breaks_the_link(five: None) -> None:
    entry = AuditEntry.objects.get(seq=3)
    entry.actor = "mallory"
    tamper(
        f"UPDATE resources_auditentry SET actor = 'mallory', hash = '{audit.digest(entry)}' WHERE seq = 3"
    )  # a hex digest
    assert kinds() == [(4, "unlinked")]


def test_an_entry_put_past_the_head_is_found(five: None) -> None:
    last = AuditEntry.objects.get(seq=5)
    forged = AuditEntry(seq=6, at=last.at, actor="m", actor_kind="user", action="a", object_type="o", object_id="1")
    forged.previous_hash = last.hash
    forged.hash = audit.digest(forged)
    forged.save()
    assert kinds() == [(6, "added")]


def test_a_chain_rewritten_as_a_whole_is_found_by_a_hash_noted_elsewhere(five: None) -> None:
    noted = audit.head()
    tamper("DELETE FROM resources_auditentry", "DELETE FROM resources_audithead")
    for number in range(1, 6):
        record(number)
    assert audit.verify() == []
    assert [f.kind for f in audit.verify(anchor=noted)] == ["edited"]


@pytest.mark.parametrize(
    "change", [lambda: AuditEntry.objects.update(actor="x"), lambda: AuditEntry.objects.all().delete()]
)
def test_the_database_itself_refuses_to_change_an_entry(five: None, change: Callable[[], object]) -> None:
    with pytest.raises((IntegrityError, DatabaseError), match="append-only"), transaction.atomic():
        change()


@pytest.mark.django_db(transaction=True)
def test_nothing_is_recorded_outside_a_transaction() -> None:
    with pytest.raises(RuntimeError):
        audit.record(actor=ACTOR, action="a", object_type="o", object_id="1", data={})


@pytest.mark.django_db
def test_a_change_that_is_rolled_back_leaves_no_gap() -> None:
    record(1)
    with pytest.raises(KeyError), transaction.atomic():
        audit.record(actor=ACTOR, action="a", object_type="o", object_id="2", data={})
        raise KeyError
    assert record(3).seq == 2
    assert audit.verify() == []


def test_a_lost_head_stops_the_log_instead_of_starting_a_new_chain(five: None) -> None:
    AuditHead.objects.all().delete()
    with pytest.raises(audit.AuditBroken):
        record(6)


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_get_numbers_without_a_gap() -> None:
    def write(start: int) -> None:
        try:
            for number in range(start, start + 10):
                record(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [0, 10, 20, 30]))
    assert audit.head()[0] == 40
    assert audit.verify() == []


def test_the_command_says_whole_or_fails(five: None) -> None:
    out = StringIO()
    call_command("verify_audit", stdout=out)
    seq, last = audit.head()
    assert f"{seq}:{last}" in out.getvalue()
    call_command("verify_audit", anchor=f"{seq}:{last}", stdout=out)
    tamper("DELETE FROM resources_auditentry WHERE seq = 2")
    with pytest.raises(CommandError) as caught:
        call_command("verify_audit", stdout=out)
    assert caught.value.returncode == 1
    assert "missing" in out.getvalue()
