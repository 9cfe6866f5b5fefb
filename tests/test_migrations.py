"""The migrations go up, down to nothing and up again, and leave the same schema, on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.services import ROOT

#: run in a process of its own: a schema that goes away under a test session takes all other tests with it
PROGRAM = """
import json
import django
django.setup()
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

CATALOGUE = {
    "sqlite": "SELECT type, tbl_name, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2, 3",
    "postgresql": '''
        SELECT 'index', tablename::text, indexname::text FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'function', '', proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'constraint', conrelid::regclass::text, conname::text FROM pg_constraint
          WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'column', table_name::text, column_name::text FROM information_schema.columns
          WHERE table_schema = 'public'
        ORDER BY 1, 2, 3''',
}

def schema():
    with connection.cursor() as cursor:
        cursor.execute(CATALOGUE[connection.vendor])
        return [list(row) for row in cursor.fetchall()]

empty = schema()
call_command("migrate", verbosity=0)
first = schema()
for label in sorted(MigrationLoader(connection).migrated_apps):
    call_command("migrate", label, "zero", verbosity=0)
below = [row for row in schema() if "django_migrations" not in row[1]]
call_command("migrate", verbosity=0)
print(json.dumps({"empty": empty, "first": first, "below": below, "again": schema()}))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def journey(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    url = f"sqlite:///{tmp_path}/migrations.sqlite3"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    env = {**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "orchestra.settings"}
    argv = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_migrations_go_up_down_to_nothing_and_up_to_the_same_schema(journey: dict[str, Any]) -> None:
    assert journey["empty"] == []
    assert {"trigger", "index"} <= {kind for kind, _, _ in journey["first"]}
    assert journey["below"] == []
    assert journey["again"] == journey["first"]
