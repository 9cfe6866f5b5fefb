"""Writers of SQLite take turns, and a turn ends however its transaction ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, connections, transaction
from pytest_django import DjangoDbBlocker

from resources.sqlite3 import base
from tests.engine.databases import connected


@pytest.fixture
def lock_file(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[int]:
    """The lock as another process sees it."""
    with django_db_blocker.unblock(), connected(f"sqlite:///{tmp_path}/db.sqlite3"):
        with transaction.atomic(), connections["default"].cursor() as cursor:
            cursor.execute("CREATE TABLE t (a integer NOT NULL)")
        file = os.open(tmp_path / "db.sqlite3-turn", os.O_RDWR)
        yield file
        os.close(file)


def is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def test_a_transaction_holds_the_turn_and_its_commit_gives_it_back(lock_file: int) -> None:
    with transaction.atomic():
        assert not is_free(lock_file)
    assert is_free(lock_file)


def test_a_rollback_gives_the_turn_back(lock_file: int) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError
    assert is_free(lock_file)


def test_a_closed_connection_gives_the_turn_back(lock_file: int) -> None:
    connection = connections["default"]
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    assert not is_free(lock_file)
    connection.close()
    assert is_free(lock_file)


def test_a_writer_that_never_gets_its_turn_says_that_the_database_is_locked(
    lock_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "PATIENCE", 0.05)
    fcntl.flock(lock_file, fcntl.LOCK_EX)
    with pytest.raises(OperationalError, match="locked"), transaction.atomic():
        raise AssertionError("it must not get this far")
    fcntl.flock(lock_file, fcntl.LOCK_UN)
    with transaction.atomic():
        assert not is_free(lock_file)


def test_reading_outside_of_a_transaction_takes_no_turn(lock_file: int) -> None:
    fcntl.flock(lock_file, fcntl.LOCK_EX)
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchone() == (0,)
