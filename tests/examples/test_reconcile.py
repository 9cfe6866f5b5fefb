"""Nightly reconciliation: two real databases, started by the keeper when it is due, told by a real mail server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from flows.variables import set_variable
from resources.models import Connection
from runs.models import Run
from runs.schedules import firing
from runs.schedules.models import Schedule
from tests.engine.cluster import SYSTEM
from tests.examples.play import carry_on, release, statuses
from tests.families import databases
from tests.families.databases import Database
from tests.families.mailserver import Box, serving
from tests.families.test_notify import mail_connection

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@dataclass
class Books:
    """The ledger in PostgreSQL, the bank in a SQLite file, a mail server; the night that is next, and its day."""

    ledger: Database
    bank: Database
    box: Box
    day: str = ""
    due: float = 0.0

    def begin(self) -> None:
        release("reconcile", sooner={"window: 1h": "window: 1h, initial: 1ms"})
        wake = Schedule.objects.get().wake_at
        assert wake is not None
        self.due = wake
        self.day = datetime.fromtimestamp(self.due - 86_400, UTC).date().isoformat()
        self.ledger.run(
            "CREATE TABLE entries (account text, amount numeric(12, 2), booked_on date)",
            f"INSERT INTO entries VALUES ('a', 10.50, '{self.day}'), ('a', 0.25, '{self.day}'), ('b', 7, '{self.day}'),"
            f" ('b', 99, DATE '{self.day}' - 1)",
        )
        self.bank.run(
            "CREATE TABLE payments (account TEXT, cents INTEGER, paid_on TEXT)",
            f"INSERT INTO payments VALUES ('a', 1075, '{self.day}'), ('b', 700, '{self.day}')",
        )

    def night(self) -> Run:
        """The keeper looks what is due, then a worker does it."""
        firing.turn(self.due)
        return carry_on(Run.objects.get().pk)


@pytest.fixture
def books(database: str, postgres_server: Any) -> Iterator[Books]:
    ledger = databases.postgres_database(postgres_server)
    ledger.connect("ledger")
    Connection.objects.filter(name="shop").delete()  # each of them makes one of this name
    bank = databases.sqlite_database(f"t{uuid.uuid4().hex}")
    bank.connect("bank")
    set_variable(actor=SYSTEM, name="report_to", schema={"type": "string"}, values={"live": "finance@example.com"})
    with serving() as box:
        mail_connection(box.port)
        made = Books(ledger, bank, box)
        made.begin()
        yield made


def test_where_they_agree_nobody_is_told(books: Books) -> None:
    run = books.night()
    assert (run.status, run.output) == ("succeeded", {"day": books.day, "differences": []}), run.error
    assert run.trigger["cause"] == "due"
    assert books.box.got == []
    firing.turn(books.due)
    assert Run.objects.count() == 1, "a night is compared once"


def test_what_differs_is_told_once_although_the_mail_server_says_later(books: Books) -> None:
    books.bank.run(
        f"INSERT INTO payments VALUES ('c', 5, '{books.day}')",
        "UPDATE payments SET cents = cents + 1 WHERE account = 'b'",
    )
    books.box.says = ["451 later", "250 taken"]
    run = books.night()
    found = [{"account": "b", "ledger": 700, "bank": 701}, {"account": "c", "ledger": 0, "bank": 5}]
    assert (run.status, run.output["differences"]) == ("succeeded", found), run.error
    [mail] = books.box.got
    assert books.box.to == [["finance@example.com"]] * 2, "the one it did not take, and the one it took"
    assert mail["subject"] == f"2 accounts differ on {books.day}"
    text = mail.get_body(("plain",))
    assert text is not None
    assert "- b, 700, 701\n- c, 0, 5" in text.get_content().replace("\r\n", "\n")


@ON_SQLITE
def test_books_that_could_not_be_compared_are_no_silence(books: Books) -> None:
    books.bank.run("DROP TABLE payments")
    run = books.night()
    assert (run.status, run.error["step"]) == ("failed", "paid")
    assert [mail["subject"] for mail in books.box.got] == [f"The books of {books.day} were not compared"]
    assert statuses(run.pk)["tell"] == "skipped"


@ON_SQLITE
def test_a_report_that_nobody_took_fails_the_run(books: Books) -> None:
    books.bank.run("DELETE FROM payments")
    books.box.refuses = {"finance@example.com": "550 no such user"}
    run = books.night()
    assert (run.status, run.error["step"]) == ("failed", "tell")
