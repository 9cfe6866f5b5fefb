"""Triggers that make a table append-only, for migrations. Reversible, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def refuse_changes(
    table: str, reason: str, *, deletes: bool = True, keys: tuple[tuple[str, ...], ...] = ()
) -> migrations.RunPython:
    """An operation after which UPDATE (and DELETE) on `table` fails with `reason`.

    `keys`: its unique columns. SQLite's INSERT OR REPLACE deletes what it replaces without firing a delete trigger,
    so an insert over an existing key is refused before that.
    """
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
        for columns in keys:
            same = " AND ".join(f"{column} = NEW.{column}" for column in columns)
            there = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608  our own names
            editor.execute(
                f"CREATE TRIGGER {table}_no_replace_{'_'.join(columns)} BEFORE INSERT ON {table} "
                f"WHEN {there} BEGIN SELECT RAISE(ABORT, '{reason}'); END"
            )

    def backwards(apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            editor.execute(f"DROP FUNCTION {table}_refuse()")
            return
        for event in events:
            editor.execute(f"DROP TRIGGER {table}_no_{event.lower()}")
        for columns in keys:
            editor.execute(f"DROP TRIGGER {table}_no_replace_{'_'.join(columns)}")

    return migrations.RunPython(forwards, backwards)


def allow_sealing(table: str, reason: str, *, sealed: tuple[str, ...], kept: tuple[str, ...]) -> migrations.RunPython:
    """An operation after which an UPDATE on a table of `refuse_changes` may seal texts of it.

    `sealed`: the columns that may become sealed values; `kept`: all others, which stay as they are.
    """
    is_same = "(NEW.{0} IS NOT DISTINCT FROM OLD.{0}{1})"
    conditions = [is_same.format(column, "") for column in kept]
    conditions += [is_same.format(column, f" OR substr(NEW.{column}, 1, 7) = 'sealed:'") for column in sealed]
    only = " AND ".join(conditions)
    refuse = f"RAISE EXCEPTION '{reason}' USING ERRCODE = 'integrity_constraint_violation'"

    def make(editor: Any, postgres: str, sqlite: str) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(
                f"CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {postgres} {refuse}; END $$"
            )
            return
        editor.execute(f"DROP TRIGGER {table}_no_update")
        editor.execute(
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {sqlite} "
            f"BEGIN SELECT RAISE(ABORT, '{reason}'); END"
        )

    def forwards(apps: Any, editor: Any) -> None:
        plainly = only.replace("IS NOT DISTINCT FROM", "IS")
        make(editor, f"IF TG_OP = 'UPDATE' AND {only} THEN RETURN NEW; END IF;", f"WHEN NOT ({plainly})")

    def backwards(apps: Any, editor: Any) -> None:
        make(editor, "", "")

    return migrations.RunPython(forwards, backwards)
