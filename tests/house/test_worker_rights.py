"""The list of what workers may do to each table of PostgreSQL knows every table (tests/role has the rest)."""

from __future__ import annotations

from django.apps import apps

from orchestra.role.rights import NOTHING, RIGHTS


def test_every_model_has_a_line_and_every_line_a_model() -> None:
    models = {model._meta.label for model in apps.get_models(include_auto_created=True)}
    assert models - RIGHTS.keys() == set(), "say in orchestra/role/rights.py what worker clusters do with it"
    assert RIGHTS.keys() - models == set()


def test_the_list_names_columns_that_are_there() -> None:
    for label, rights in RIGHTS.items():
        known = {field.column for field in apps.get_model(label)._meta.concrete_fields}
        named = {column for _, columns in rights.clauses() for column in columns}
        assert named <= known, label


def test_people_s_tables_are_not_writable_and_the_past_is_only_added_to() -> None:
    held = {label: {privilege for privilege, _ in rights.clauses()} for label, rights in RIGHTS.items()}
    assert {
        label for label, privileges in held.items() if label.startswith(("auth.", "flows.")) and privileges - {"SELECT"}
    } == set()
    for label in ("resources.AuditEntry", "runs.RunEvent"):
        assert held[label] == {"SELECT", "INSERT"}
    assert held["approvals.Decision"] == {"SELECT"}
    for label in ("sessions.Session", "resources.ApiToken", "resources.Grant"):
        assert RIGHTS[label] == NOTHING
