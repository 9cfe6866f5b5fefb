"""Lets Django's `flush` (transactional tests) empty the append-only tables on SQLite.

There it deletes row by row, which the triggers that the migrations made refuse. For the moment of a flush, in its own
transaction, they are taken away and put back as they were. PostgreSQL truncates, which no row trigger sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.db.backends.sqlite3.base import DatabaseWrapper


def _flush_without_triggers(original: Any) -> Any:
    def execute_sql_flush(self: Any, sql_list: list[str]) -> None:
        connection = self.connection
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f'DROP TRIGGER "{name}"')
            original(self, sql_list)
            for _, sql in triggers:
                cursor.execute(sql)

    return execute_sql_flush


@pytest.fixture(scope="session", autouse=True)
def flush_past_append_only_triggers() -> Iterator[None]:
    operations = DatabaseWrapper.ops_class
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "execute_sql_flush", _flush_without_triggers(operations.execute_sql_flush))
        yield
