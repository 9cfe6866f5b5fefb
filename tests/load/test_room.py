"""Ready means that what happens can be stored, too."""

from __future__ import annotations

import errno
import io
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from orchestra import room

ON_POSTGRES: pytest.MarkDecorator = pytest.mark.parametrize("database", ["postgres"], indirect=True)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    room.forget()
    yield
    room.forget()


def ready(client: Client) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["checks"].get("room", "")


def full(*_: Any, **given: Any) -> Any:
    if given.get("dir") is None:
        return io.BytesIO()  # another disk
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_with_room_is_ready(database: str, client: Client) -> None:
    assert ready(client) == (200, "ok")


@pytest.mark.django_db
def test_a_folder_that_takes_nothing_is_said(client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    status, said = ready(client)
    assert status == 503 and str(settings.DATA_DIR) in said and "No space left on device" in said


@pytest.mark.django_db
def test_a_folder_that_is_almost_full_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3 * 2**20 + 5))
    status, said = ready(client)
    assert status == 503 and "3 MiB are left" in said


@pytest.mark.django_db
def test_the_answer_is_kept_for_some_seconds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ready(client)[0] == 200
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert ready(client)[0] == 200
    monkeypatch.setattr(room, "KEPT", 0.0)
    assert ready(client)[0] == 503


@ON_POSTGRES
def test_what_is_sorted_goes_to_the_disk_of_the_server(database: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('temp_file_limit', '64kB', true)")
        said = room.check()
    room.forget()
    assert said != "ok" and room.check() == "ok"


@ON_POSTGRES
def test_a_full_disk_of_the_server_and_one_that_is_only_read_are_said(
    database: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = (
        "DO $$ BEGIN RAISE EXCEPTION 'could not write to file: No space left on device' USING ERRCODE = '53100'; END $$"
    )
    monkeypatch.setattr(room, "_SPILL", raised)
    status, said = ready(client)
    assert status == 503 and "disk of the database is full" in said
    room.forget()
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        try:
            assert "may only be read" in ready(client)[1]
        finally:
            cursor.execute("SET default_transaction_read_only = off")
