"""Values of a database as JSON and as CSV, and what is read of a statement."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest

from flows.steps.db import cells, sql

UTC = dt.UTC


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (1 << 63, str(1 << 63)),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("12.50"), "12.50"),
        (dt.datetime(2026, 5, 1, 7, tzinfo=UTC), "2026-05-01T07:00:00Z"),
        (dt.datetime(2026, 5, 1, 7), "2026-05-01T07:00:00"),
        (dt.date(2026, 5, 1), "2026-05-01"),
        (dt.timedelta(days=1, seconds=7200, microseconds=500_000), "P1DT2H0M0.5S"),
        (-dt.timedelta(seconds=1), "-P0DT0H0M1S"),
        (b"\x00\xff", "AP8="),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([Decimal(1), None], ["1", None]),
        ({"a": b"x"}, {"a": "eA=="}),
    ],
)
def test_a_value_as_json(value: Any, json: Any) -> None:
    assert cells.to_json(value) == json


def test_a_line_of_csv_tells_nothing_from_an_empty_text() -> None:
    line = cells.csv_line([None, "", "a", 'b"c', "d,e", "f\n", " g", 5, True, [1, "x"], "=1+1"])
    assert line == ',"",a,"b""c","d,e","f\n"," g",5,true,"[1,""x""]",=1+1\r\n'


def test_a_repeated_column_is_numbered() -> None:
    assert cells.columns_of(["n", "n", "m", "n"]) == ["n", "n_2", "m", "n_3"]


@pytest.mark.parametrize(
    ("text", "names", "lists"),
    [
        ("SELECT :a, :b", {"a", "b"}, set()),
        ("SELECT ':a', \":b\", `:c`, $$ :d $$, $x$ :e $x$, -- :f\n /* :g */ 1", set(), set()),
        ("SELECT a::date, b[1:2], '12:30', \\:x", set(), set()),
        ("SELECT a LIKE :p ESCAPE '\\' AND b = :q", {"p", "q"}, set()),
        ("SELECT 1 WHERE a IN :x OR b NOT IN ( :y ) OR c = :z", {"x", "y", "z"}, {"x", "y"}),
        ("SELECT 'it''s :a', :b", {"b"}, set()),
    ],
)
def test_which_values_a_statement_names(text: str, names: set[str], lists: set[str]) -> None:
    statement = sql.read(text)
    assert (set(statement.names), set(statement.lists)) == (names, lists)


@pytest.mark.parametrize("text", ["SELECT 1;", "SELECT ';'; -- end", "SELECT 1 /* ; */"])
def test_one_statement_may_end_with_a_semicolon(text: str) -> None:
    assert sql.refusal(sql.read(text)) is None
