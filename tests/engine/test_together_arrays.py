"""A column of values reaches PostgreSQL as it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from runs.wide import array, text_array

AWKWARD = ["", "a", 'he said "no"', "back\\slash", '\\"', "{a,b}", "NULL", "null", " x ", "\n\t", "ä→🙂", "'"]


def written(kind: str, values: list[Any]) -> str:
    return text_array(values) if kind == "text" else array(values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", AWKWARD),
        ("text", [*AWKWARD, None]),
        ("text", [None, None]),
        ("text", ["\x1e", None, "a"]),
        ("text", ["a\x1fb", '"', "c"]),
        ("text", ["one"]),
        ("bigint", [0, -1, 2**62, None]),
        ("int", [0, -5]),
        ("bool", [True, False, None]),
        ("float8", [0.1, 1.7e9 + 0.123456, -1e-9, 1e300, None, 5]),
    ],
)
def test_values_survive_as_an_array(database: str, kind: str, values: list[Any]) -> None:
    if connection.vendor != "postgresql":
        assert written(kind, values).startswith("{")  # SQLite writes rows one by one
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [written(kind, values)])
        assert cursor.fetchone()[0] == values
