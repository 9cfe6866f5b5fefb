"""The start form and the sketch: pure."""

from __future__ import annotations

from typing import Any

import pytest

from flows.definition.compiler import compile_source
from flows.definition.inputs import validate_input, with_defaults
from flows.offers import BY_NAME
from flows.sketch import sketch
from flows.startform import field_errors, fields_of, read_form
from tests.flows.conftest import SOURCE

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name", "kind"],
    "properties": {
        "name": {"type": "string", "description": "Who."},
        "kind": {"enum": ["a", "b", 3]},
        "many": {"enum": [1, 2, 3, 4]},
        "count": {"type": "integer", "default": 2},
        "ratio": {"type": "number"},
        "sure": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}


def test_each_type_has_its_control() -> None:
    kinds = {field.label: field.kind for field in fields_of(SCHEMA)}
    assert kinds == {
        "name": "text",
        "kind": "segmented",
        "many": "select",
        "count": "number",
        "ratio": "number",
        "sure": "check",
        "tags": "json",
    }
    assert next(f for f in fields_of(SCHEMA) if f.label == "count").value == "2"


def test_a_filled_form_becomes_typed_input() -> None:
    posted = {
        "in.name": "Ada",
        "in.kind": "3",
        "in.many": "4",
        "in.count": "7",
        "in.ratio": "0.5",
        "in.sure": "on",
        "in.tags": '["x"]',
    }
    value, errors = read_form(SCHEMA, posted)
    assert errors == {}
    assert value == {"name": "Ada", "kind": 3, "many": 4, "count": 7, "ratio": 0.5, "sure": True, "tags": ["x"]}
    assert validate_input(SCHEMA, value) == []


def test_empty_optional_fields_are_left_to_the_defaults() -> None:
    value, errors = read_form(SCHEMA, {"in.name": "Ada", "in.kind": '"a"', "in.count": ""})
    assert errors == {}
    assert with_defaults(SCHEMA, value) == {"name": "Ada", "kind": "a", "count": 2, "sure": False}


def test_errors_stand_at_their_fields() -> None:
    _, errors = read_form(SCHEMA, {"in.count": "two", "in.tags": "[", "in.kind": '"a"', "in.ratio": "NaN"})
    assert set(errors) == {"name", "count", "tags", "ratio"}
    problems: list[dict[str, Any]] = [
        {"path": ["tags", 0], "message": "not a string"},
        {"path": [], "message": "whole"},
        {"path": ["zzz"], "message": "second"},
    ]
    assert field_errors(problems, SCHEMA) == {"tags": "At 0: not a string", "": "whole"}


def test_what_was_posted_stays_in_the_form() -> None:
    field = next(
        f for f in fields_of(SCHEMA, {"in.count": "two"}, {"count": "Write a whole number."}) if f.label == "count"
    )
    assert (field.value, field.error) == ("two", "Write a whole number.")


def test_the_sketch_shows_steps_and_arrows_while_the_text_does_not_compile() -> None:
    drawn = sketch(
        "steps:\n  - {id: a, sleep: 1s}\n  - {id: b, nonsense: 1}\n"
        "  - {id: c, needs: [a, nobody, c], approval: {reviewers: {quorum: 2, groups: [ops]}}}\n"
    )
    assert drawn is not None
    assert [(n["id"], n["line"], n["human"]) for n in drawn["nodes"]] == [
        ("a", 2, False),
        ("b", 3, False),
        ("c", 4, True),
    ]
    assert drawn["edges"] == [["a", "b"], ["a", "c"]]
    assert drawn["nodes"][2]["detail"] == "2 of ops"


@pytest.mark.parametrize("text", ["a: [", "[]", "", "steps: 5", "steps: [1, {id: 2}]", "steps: {}"])
def test_any_text_can_be_sketched(text: str) -> None:
    drawn = sketch(text)
    assert drawn is None or drawn["nodes"] == []


def test_an_unchanged_flow_draws_every_step() -> None:
    drawn = sketch(SOURCE)
    assert drawn is not None
    assert [n["id"] for n in drawn["nodes"]] == ["rest"]


@pytest.mark.parametrize("title", ["Plain", "it's: {a} # trick\n- x", "$ { {{ }}", 'é "q"', "__slug__"])
def test_starters_compile_whatever_the_title(title: str) -> None:
    for starter in BY_NAME.values():
        text = starter.source(slug="fresh", title=title, folder="team")
        plan, problems = compile_source(text)
        assert plan is not None, (starter.name, [p.to_json() for p in problems if p.severity == "error"])
        assert (plan.flow, plan.folder) == ("fresh", "team")
