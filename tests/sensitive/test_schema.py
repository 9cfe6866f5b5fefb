"""Which parts of a value a schema marks, and what is left of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.definition.sensitive import MARK, blank, holds_mark, marks, places, plain, restored, texts

S = {"x-sensitive": True}
TABLE: list[tuple[str, Any, Any, Any]] = [
    ("a member", {"properties": {"a": S}}, {"a": 1, "b": 2}, {"a": MARK, "b": 2}),
    ("all of it", S, {"a": [1]}, MARK),
    ("null, too", {"properties": {"a": S}}, {"a": None}, {"a": MARK}),
    ("only true marks", {"properties": {"a": {"x-sensitive": False}}}, {"a": 1}, {"a": 1}),
    ("nested", {"properties": {"a": {"properties": {"b": S}}}}, {"a": {"b": 1, "c": 2}}, {"a": {"b": MARK, "c": 2}}),
    ("items", {"items": {"properties": {"a": S}}}, [{"a": 1}, {"b": 1}], [{"a": MARK}, {"b": 1}]),
    ("prefixItems", {"prefixItems": [{}, S], "items": {}}, [1, 2, 3], [1, MARK, 3]),
    ("the rest of a list", {"prefixItems": [{}], "items": S}, [1, 2, 3], [1, MARK, MARK]),
    ("contains", {"contains": S}, [1, 2], [MARK, MARK]),
    ("unevaluatedItems", {"prefixItems": [{}], "unevaluatedItems": S}, [1, 2], [1, MARK]),
    ("others", {"properties": {"a": {}}, "additionalProperties": S}, {"a": 1, "b": 2}, {"a": 1, "b": MARK}),
    ("unevaluatedProperties", {"properties": {"a": {}}, "unevaluatedProperties": S}, {"a": 1, "b": 2},
     {"a": 1, "b": MARK}),
    ("by pattern", {"patternProperties": {"^pin": S}}, {"pin1": 1, "b": 2}, {"pin1": MARK, "b": 2}),
    ("a pattern nobody can read", {"patternProperties": {"(": S}}, {"a": 1}, {"a": MARK}),
    ("anyOf: every part counts", {"anyOf": [{"type": "null"}, {"properties": {"a": S}}]}, {"a": 1}, {"a": MARK}),
    ("oneOf", {"oneOf": [{"properties": {"k": {"const": 1}, "a": S}}, {}]}, {"k": 2, "a": 1}, {"k": 2, "a": MARK}),
    ("allOf", {"allOf": [{"properties": {"a": S}}]}, {"a": 1}, {"a": MARK}),
    ("if, then, else", {"if": {}, "then": {"properties": {"a": S}}, "else": {"properties": {"b": S}}},
     {"a": 1, "b": 2}, {"a": MARK, "b": MARK}),
    ("not", {"not": {"properties": {"a": S}}}, {"a": 1}, {"a": MARK}),
    ("dependentSchemas", {"dependentSchemas": {"x": {"properties": {"a": S}}}}, {"a": 1}, {"a": MARK}),
    ("names of members", {"propertyNames": S}, {"a": 1}, MARK),
    ("JSON in a text", {"contentSchema": {"properties": {"a": S}}}, '{"a": 1}', MARK),
    ("$ref", {"$defs": {"c": S}, "properties": {"a": {"$ref": "#/$defs/c"}}}, {"a": 1}, {"a": MARK}),
    ("$ref with escapes", {"$defs": {"c/d e": S}, "properties": {"a": {"$ref": "#/$defs/c~1d%20e"}}}, {"a": 1},
     {"a": MARK}),
    ("$ref to an anchor", {"$defs": {"c": {"$anchor": "card", **S}}, "properties": {"a": {"$ref": "#card"}}}, {"a": 1},
     {"a": MARK}),
    ("$ref that leads nowhere", {"$defs": {"c": S}, "properties": {"a": {"$ref": "#/$defs/x"}}}, {"a": 1}, {"a": MARK}),
    ("$ref to itself", {"properties": {"a": S, "next": {"$ref": "#"}}}, {"next": {"next": {"a": 1}}},
     {"next": {"next": {"a": MARK}}}),
    ("$ref in a circle", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a",
     "properties": {"x": S}}, {"x": 1}, {"x": MARK}),
    ("$ref within a document of its own", {"properties": {"a": {"$id": "own", "$defs": {"c": S}, "$ref": "#/$defs/c"}}},
     {"a": 1}, {"a": MARK}),
    ("$ref to the root", {"$dynamicRef": "#/$defs/c", "$defs": {"c": {"properties": {"a": S}}}}, {"a": 1}, {"a": MARK}),
    ("true as a schema", {"properties": {"a": True}, **{"$defs": S}}, {"a": 1}, {"a": 1}),
    ("nothing there", {"properties": {"a": S}}, {"b": 1}, {"b": 1}),
    ("another type", {"properties": {"a": S}}, [1], [1]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "left"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_a_schema_marks_is_replaced_and_nothing_else(schema: Any, value: Any, left: Any) -> None:
    before = json.dumps(value)
    assert blank(schema, value) == left
    assert json.dumps(value) == before  # a copy


json_ = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def schema_of(value: Any, choose: Any) -> Any:
    """A schema of this very value, with some parts marked; what is marked is collected in `choose.found`."""
    if choose():
        choose.found.append(value)
        return dict(S)
    if isinstance(value, dict):
        return {"properties": {key: schema_of(item, choose) for key, item in value.items()}}
    if isinstance(value, list):
        return {"allOf": [{"prefixItems": [schema_of(item, choose) for item in value]}]}
    return {}


class Chooser:
    def __init__(self, data: st.DataObject) -> None:
        self.data, self.found = data, list[Any]()

    def __call__(self) -> bool:
        return self.data.draw(st.integers(0, 3)) == 0


@given(json_, st.data())
def test_every_marked_part_is_found_and_the_rest_is_as_it_was(value: Any, data: st.DataObject) -> None:
    choose = Chooser(data)
    schema = schema_of(value, choose)
    left = blank(schema, value)
    assert marks(schema) == bool(choose.found)
    assert sorted(texts(schema, value)) == sorted(text for part in choose.found for text in plain(part))
    for place in places(schema, value):
        part = left
        for key in place:
            part = part[key]
        assert part == MARK
    assert len(places(schema, value)) == len(choose.found)
    assert restored(left, left, value) == value  # what nobody changed is what was stored


@given(json_, json_)
def test_what_was_changed_stays_as_it_was_written(given: Any, stored: Any) -> None:
    assert restored(given, stored, stored) == given  # nothing is masked: nothing comes back


def test_a_masked_part_that_is_left_as_it_was_keeps_its_value_where_others_change() -> None:
    schema = {"properties": {"card": S, "list": {"items": {"properties": {"pin": S}}}}}
    stored = {"card": "4111", "list": [{"pin": 1}, {"pin": 2}], "note": "a"}
    shown = blank(schema, stored)
    assert restored({**shown, "note": "b"}, shown, stored) == {**stored, "note": "b"}
    assert restored({**shown, "card": "4222"}, shown, stored) == {**stored, "card": "4222"}
    moved = restored({"note": MARK, "list": []}, shown, stored)
    assert moved == {"note": MARK, "list": []} and holds_mark(moved)


def test_a_wide_value_is_masked_in_one_pass() -> None:
    schema = {"items": {"properties": {"a": S}}}
    left = blank(schema, [{"a": n, "b": n} for n in range(20_000)])
    assert left[19_999] == {"a": MARK, "b": 19_999} and left[0] == {"a": MARK, "b": 0}
