"""Triggers that make a table append-only, for migrations. Reversible, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def refuse_changes(table: str, reason: str, *, deletes: bool = True) -> migrations.RunPython:
    """An operation after which UPDATE (and DELETE) on `table` fails with `reason`."""
    events = ["UPDATE", "DELETE"] if deletes else ["UPDATE"]

    def forwards(apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(
                f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
            )
            editor.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE {' OR '.join(events)} ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION {table}_refuse()"
            )
            return
        for event in events:
            editor.execute(
                f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{reason}'); END"
            )

    def backwards(apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            editor.execute(f"DROP FUNCTION {table}_refuse()")
            return
        for event in events:
            editor.execute(f"DROP TRIGGER {table}_no_{event.lower()}")

    return migrations.RunPython(forwards, backwards)
