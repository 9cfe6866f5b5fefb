"""Reading YAML: values by the 1.2 core schema, positions, and attacks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.definition import yaml_source
from flows.definition.lint import lint
from flows.definition.yaml_source import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("012", "012"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("7", 7),
        ("-7", -7),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'7'", "7"),
        ('"true"', "true"),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_plain_scalar_has_its_yaml_1_2_value(text: str, value: object) -> None:
    source = parse(f"key: {text}\n")
    assert not source.problems
    found = source.data["key"]
    assert found == value
    assert type(found) is type(value)


ATTACKS = [
    ("deep lists", "[" * 100_000, "yaml-depth"),
    ("deep block lists", "- " * 50_000, "yaml-depth"),
    ("deep mappings", "{a: " * 50_000, "yaml-depth"),
    ("deep unclosed keys", "? " * 50_000, "yaml-key"),
    ("billion laughs", "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", "yaml-alias"),
    ("self reference", "a: &a [*a]", "yaml-alias"),
    ("merge key", "a: 1\n<<: {b: 2}", "yaml-merge-key"),
    ("merge bomb", "a: &a {x: 1}\nb: {<<: [*a, *a]}", "yaml-merge-key"),
    ("duplicate key", "a: 1\nb: 2\na: 3", "yaml-duplicate-key"),
    ("nested duplicate key", "a:\n  b: 1\n  b: 2", "yaml-duplicate-key"),
    ("python object", "a: !!python/object/apply:os.system [ls]", "yaml-tag"),
    ("custom tag", "a: !secret x", "yaml-tag"),
    ("binary", "a: !!binary aGk=", "yaml-tag"),
    ("key that is a list", "? [a]\n: b", "yaml-key"),
    ("too many nodes", "-\n" * 100_000, "yaml-nodes"),
    ("too large", "a: " + "x" * 300_000, "yaml-size"),
    ("two documents", "a: 1\n--- \nb: 2", "yaml-document"),
    ("empty", "", "yaml-document"),
    ("only a comment", "# nothing", "yaml-document"),
    ("a null byte", "a: \0", "yaml-syntax"),
    ("a lone surrogate", "a: \ud800", "yaml-syntax"),
    ("unclosed quote", "a: '" + "x\n" * 10_000, "yaml-syntax"),
    ("unclosed list", "a: [1, 2", "yaml-syntax"),
    ("tab", "a:\n\tb: 1", "yaml-syntax"),
    ("many anchors", "&a " * 50_000, "yaml-syntax"),
    ("infinity", "a: .inf", "yaml-number"),
    ("not a number", "a: .nan", "yaml-number"),
    ("overflowing float", "a: 1e999", "yaml-number"),
    ("thousands of digits", "a: " + "9" * 50_000, "yaml-number"),
    ("unquoted expression with a mapping", "a: ${{ {'a': 1} }}", "yaml-syntax"),
    ("quadratic comments", "#" * 200_000, "yaml-document"),
    ("many flow keys", "{" + "a: ," * 40_000, "yaml-duplicate-key"),
]


@pytest.mark.parametrize(("text", "rule"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS])
def test_an_attack_is_one_problem_with_a_place(text: str, rule: str) -> None:
    problems = [p for p in lint(text) if p.is_error]
    assert [p.rule for p in problems] == [rule]
    assert problems[0].line >= 1
    assert problems[0].column >= 1
    assert problems[0].hint


def test_the_problem_stands_where_the_second_key_is() -> None:
    (problem,) = parse("a: 1\nb:\n  c: 1\n  c: 2\n").problems
    assert (problem.line, problem.column, problem.end_column) == (4, 3, 4)
    assert "line 3" in problem.hint


def test_positions_of_keys_and_values() -> None:
    source = parse("flow: x\nsteps:\n  - id: a\n    http: {url: 'héy', n: [1, 2]}\n")
    assert (source.keys[("steps", 0, "http")].line, source.keys[("steps", 0, "http")].column) == (4, 5)
    value = source.values[("steps", 0, "http", "url")]
    assert (value.line, value.column, value.end_column, value.content_column) == (4, 17, 22, 18)
    second = source.values[("steps", 0, "http", "n", 1)]
    assert (second.line, second.column) == (4, 31)
    assert source.at(("steps", 0, "nothing", "here")) == source.values[("steps", 0)]


def test_a_key_keeps_its_text() -> None:
    assert parse("200: a\ntrue: b\n~: c").data == {"200": "a", "true": "b", "~": "c"}


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(trees)
@settings(max_examples=150, deadline=None)
def test_every_json_text_reads_as_itself(value: object) -> None:
    import json

    text = json.dumps(value)
    source = parse(text)
    if source.problems:
        assert source.problems[0].rule in {"yaml-document", "yaml-syntax"}  # surrogate escapes of rare characters
        return
    assert source.data == value


@given(st.text(alphabet="[]{}:-?!&*#|>'\"%@,\n\t ab01<~", max_size=200))
@settings(max_examples=400, deadline=None)
def test_no_text_makes_the_reader_raise(text: str) -> None:
    source = parse(text)
    assert source.problems or source.data is not None or text.strip() is not None
    for problem in source.problems:
        assert 1 <= problem.line <= text.count("\n") + 2


def test_limits_are_what_the_documentation_says() -> None:
    assert (yaml_source.MAX_BYTES, yaml_source.MAX_DEPTH, yaml_source.MAX_NODES) == (262_144, 64, 20_000)


@pytest.mark.parametrize("text", ['title: "a\\0b"', '"a\\x00b": 1'])
def test_a_null_character_written_as_an_escape_is_refused_where_it_stands(text: str) -> None:
    (problem,) = parse(f"flow: a\n{text}\n").problems
    assert (problem.rule, problem.line) == ("yaml-syntax", 2)
