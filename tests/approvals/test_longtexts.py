"""Which texts of an action are shown as they are written."""

from __future__ import annotations

from approvals.longtexts import MOST, texts_of

LONG = "column, " * 10


def test_texts_of_several_lines_and_long_ones_are_shown_with_where_they_stand() -> None:
    action = {
        "config": {
            "statements": ["SELECT 1\n", "DELETE FROM orders\nWHERE id = :id\n", f"SELECT {LONG}"],
            "params": {"note": "one\ntwo", "id": 3},
            "code": "\n\n",
            "digest": "f" * 128,
        }
    }
    assert texts_of(action) == [
        ("statements 2", "DELETE FROM orders\nWHERE id = :id"),
        ("statements 3", f"SELECT {LONG}"),
        ("params note", "one\ntwo"),
    ]


def test_an_action_without_a_config_has_none_and_many_are_bounded() -> None:
    assert texts_of({}) == []
    assert len(texts_of({"config": {"lines": ["a\nb"] * 100}})) == MOST
