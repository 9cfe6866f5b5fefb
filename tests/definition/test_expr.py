"""Expressions: a conformance table (what any evaluator behind `expr` must give), templates, attacks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.definition import expr
from flows.definition.expr import ExprError, Scope, evaluate, references, render, truthy
from flows.definition.template import TemplateError, parse_template, sole_expression

SCOPE: dict[str, Any] = {
    "input": {
        "text": "héllo",
        "n": 3,
        "f": 1.5,
        "yes": True,
        "none": None,
        "list": [3, 1, 2],
        "words": ["a", "b"],
        "big": 2**64,
        "safe": 2**53 + 1,
        "map": {"z": 1, "a": 2},
    },
    "steps": {
        "build-it": {"output": {"ok": True}, "status": "succeeded"},
        "b": {"output": None, "status": "skipped"},
        "nothing": {"output": None, "status": "succeeded", "age": None},
    },
    "trigger": {"body": {"action": "published"}, "headers": {"x-github-delivery": "d1"}},
    "run": {"id": "r1"},
    "item": {"k": 1},
    "item_index": 0,
}

CONFORMANCE = [
    ("1 + 2 * 3", 7),
    ("7 / 2", 3),
    ("7 % 4", 3),
    ("1.5 + 1.5", 3.0),
    ("input.n > 2.5", True),
    ("input.n == 3.0", True),
    ("'a' + 'b'", "ab"),
    ("input.text.size()", 5),
    ("size(input.list)", 3),
    ("input.yes && !false", True),
    ("input.n > 2 ? 'many' : 'few'", "many"),
    ("input.none == null", True),
    ("has(input.zz)", False),
    ("has(input.n)", True),
    ("input.?zz.orValue(5)", 5),
    ("input[?'zz'].orValue(5)", 5),
    ("3 in input.list", True),
    ("'z' in input.map", True),
    ("input.list.map(x, x * 2)", [6, 2, 4]),
    ("input.list.filter(x, x > 1)", [3, 2]),
    ("input.list.exists(x, x == 2)", True),
    ("input.list.all(x, x > 0)", True),
    ("input.map.map(k, k)", ["a", "z"]),
    ("input.map.map(k, input.map[k])", [2, 1]),
    ("{'b': 1, 'a': 2}.map(k, k)", ["a", "b"]),
    ("input.map.filter(k, input.map[k] > 0).join('')", "az"),
    ("input.list[1]", 1),
    ("trigger.headers['x-github-delivery']", "d1"),
    ("steps['build-it'].output.ok", True),
    ("steps.b.output == null", True),
    ("steps.b.?output.orValue(7)", 7),
    ("steps['b'].?output.orValue(7)", 7),
    ("steps.b[?'output'].orValue(7)", 7),
    ("steps.?b.output.orValue(7)", 7),
    ("steps[?'b'].?output.orValue(7)", 7),
    ("steps.b.?output.hasValue()", False),
    ("steps.b.?output.?deep.orValue(7)", 7),
    ("steps.nothing.?output.orValue(7)", None),
    ("steps.nothing.?age.orValue(0)", 0),
    ("steps.nothing.age == null", True),
    ("steps['build-it'].?output.orValue({}).ok", True),
    ("steps['build-it'].output.?none.orValue(7)", 7),
    ("input.?none.orValue(7)", None),
    ("item.k + item_index", 1),
    ("'a,b,c'.split(',')", ["a", "b", "c"]),
    ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
    ("input.words.join('-')", "a-b"),
    ("['x'].join()", "x"),
    ("'banana'.replace('a', 'o')", "bonono"),
    ("'banana'.replace('a', 'o', 1)", "bonana"),
    ("'abcdef'.substring(1, 3)", "bc"),
    ("'abcdef'.substring(4)", "ef"),
    ("'abc'.charAt(1)", "b"),
    ("'abcabc'.indexOf('c')", 2),
    ("'abcabc'.lastIndexOf('c')", 5),
    ("'aBÉ'.lowerAscii()", "abÉ"),
    ("'abé'.upperAscii()", "ABé"),
    ("'  a '.trim()", "a"),
    ("'abc'.reverse()", "cba"),
    ("'%s has %d of %.1f %%'.format(['x', 2, 3.0])", "x has 2 of 3.0 %"),
    ("'%s'.format([{'b': 1, 'a': 2}])", '{"a": 2, "b": 1}'),
    ("'v1.2.3'.matches('^v\\\\d+')", True),
    ("input.text.startsWith('h')", True),
    ("string(12)", "12"),
    ("int('12')", 12),
    ("double(3)", 3.0),
    ("math.greatest(1, 5, 3)", 5),
    ("base64.encode(b'a')", "YQ=="),
    ("timestamp('2026-01-01T00:00:00Z') + duration('36h')", "2026-01-02T12:00:00Z"),
    ("timestamp('2026-01-01T01:00:00+01:00')", "2026-01-01T00:00:00Z"),
    ("duration('1h30m')", "5400s"),
    ("duration('1500ms')", "1.5s"),
    ("timestamp('2026-01-01T00:00:00Z').getFullYear()", 2026),
    ("input.safe", 2**53 + 1),
    ("input.safe + 1", 2**53 + 2),
    ("input.big", "18446744073709551616"),
    ("{1: 'a', 2: 'b'}", {"1": "a", "2": "b"}),
    ("{true: 'b'}", {"true": "b"}),
    ("[1, 'a', null]", [1, "a", None]),
]


@pytest.mark.parametrize(("text", "value"), CONFORMANCE, ids=[c[0] for c in CONFORMANCE])
def test_an_expression_has_its_value(text: str, value: object) -> None:
    found = evaluate(text, SCOPE)
    assert found == value
    assert type(found) is type(value)


FAILURES = [
    ("", "empty", 0),
    ("1 +", "not an expression", 3),
    ("'a' + 1", "does not take string, int", 4),
    ("nothing.here", "no `nothing.here`", 7),
    ("now()", "no `now`", 3),
    ("uuid()", "no `uuid`", 4),
    ("input.zz", "no 'zz'", None),
    ("input.n.x", "has none", None),
    ("input.text > 1", "do not go together", None),
    ("input.n && true", "do not go together", None),
    ("vars.x", "There is no `vars` here", 0),
    ("1 / 0", "divides by zero", None),
    ("9223372036854775807 + 1", "64 bits", None),
    ("1.0 / 0.0", "inf", None),
    ("input.?zz", "orValue", None),
    ("b'a'", "base64", None),
    ("type(1)", "type", None),
    ("input.list.join(',')", "list of texts", None),
    ("'abc'.substring(9)", "outside", None),
    ("'%d'.format(['x'])", "needs a number", None),
    ("'%s'.format([])", "fewer", None),
    ("x" * 5000, "4096 characters", 0),
    ("(" * 200 + "1" + ")" * 200, "nested too deep", None),
    ("[" * 200 + "1" + "]" * 200, "nested too deep", None),
    ("1" + "+1" * 200, "nested too deep", None),
    ("input" + ".a" * 200, "nested too deep", None),
    ("input.text.matches('(')", "", None),
]


@pytest.mark.parametrize(("text", "part", "offset"), FAILURES, ids=[f[0][:30] or "empty" for f in FAILURES])
def test_an_expression_without_a_value_says_why(text: str, part: str, offset: int | None) -> None:
    with pytest.raises(ExprError) as caught:
        evaluate(text, SCOPE)
    assert part in caught.value.message
    assert caught.value.offset == offset
    assert "INVALID_ARGUMENT" not in caught.value.message


def _doubling(levels: int) -> str:
    text = "input.text"
    for level in range(levels):
        text = f"[{text}].map(x{level}, x{level} + x{level})[0]"
    return text


BOMBS = [
    _doubling(9),
    "input.long.replace('', input.long)",
    "input.long.split('').join(input.long)",
    "input.long.split('')",
    "'%s%s%s'.format([input.long, input.long, input.long])",
    "input.long + input.long + input.long",
    "input.many.map(a, input.many.map(b, input.many.map(c, 1)))",
    "input.many.map(a, input.long)",
]


@pytest.mark.parametrize("text", BOMBS)
def test_a_bomb_ends_as_an_error(text: str) -> None:
    with pytest.raises(ExprError):
        evaluate(text, {"input": {"text": "x" * 1000, "long": "y" * 400_000, "many": list(range(300))}})


def test_values_too_deep_or_cyclic_never_reach_the_evaluator() -> None:
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    cyclic: list[Any] = []
    cyclic.append([cyclic, cyclic])
    for value in (deep, cyclic, {1: 2}, {"a": object()}, {"a": float("nan")}, {"a": "\ud800"}, {"a": "x\0y"}, (1, 2)):
        with pytest.raises(ExprError):
            evaluate("input", {"input": value})


def test_iteration_over_a_mapping_is_the_same_in_every_process() -> None:
    code = (
        "from flows.definition.expr import evaluate; import json;"
        "m = {c: 1 for c in 'qwertyuiopasdfgh'};"
        "texts = ['input.map(k, k)', '[input].map(m, m.filter(k, true))'];"
        "print(json.dumps([evaluate(t, {'input': m}) for t in texts]))"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    }
    (only,) = found
    assert json.loads(only) == [sorted("qwertyuiopasdfgh"), [sorted("qwertyuiopasdfgh")]]


def test_references_are_found_with_their_places() -> None:
    text = (
        "steps.a.output.x + steps['b-c'].status + steps[input.k].output "
        "+ input.l.map(v, v.w)[0] + steps.?d.output.orValue('')"
    )
    found = [(r.path, r.offset, r.guarded) for r in references(text)]
    assert found == [
        (("steps", "a", "output", "x"), 0, False),
        (("steps", "b-c", "status"), 19, False),
        (("steps", None, "output"), 41, False),
        (("input", "k"), 47, False),
        (("input", "l"), 65, False),
        (("steps", "d", "output"), 90, True),
    ]


def test_a_loop_variable_hides_the_name_in_scope() -> None:
    assert [r.path for r in references("[{'x': 1}].map(input, input.x)")] == []
    assert [r.path for r in references("input.map(input, input.x)")] == [("input",)]


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        ("${{ input.list }}", [3, 1, 2]),
        ("  ${{ input.n }}\n", 3),
        (
            "n=${{ input.n }} l=${{ input.list }} t=${{ input.text }} x=${{ input.none }}",
            "n=3 l=[3,1,2] t=héllo x=null",
        ),
        ("${{ '}}' }}", "}}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ {'a': {'b': 1}}}}", {"a": {"b": 1}}),
        ("${{ '\\'}}' + r'\\d' + \"'\" }}", "'}}\\d'"),
        ("${{ '${{ x }}' }}", "${{ x }}"),
        ({"${{ k }}": ["${{ input.n }}", 1, None, True]}, {"${{ k }}": [3, 1, None, True]}),
        ("no expression }} $ {{", "no expression }} $ {{"),
    ],
)
def test_a_tree_is_rendered(tree: object, value: object) -> None:
    assert render(tree, SCOPE) == value


def test_what_was_rendered_is_not_rendered_again() -> None:
    assert render("${{ input.x }}!", {"input": {"x": "${{ 1 + 1 }}"}}) == "${{ 1 + 1 }}!"


@pytest.mark.parametrize("text", ["${{ 1", "${{ 'a }}", "a ${{ {'x': 1 }}", "${{ '''a' }}"])
def test_an_expression_that_does_not_end_is_refused_where_it_begins(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert caught.value.offset == text.index("${{")


def test_parts_know_their_offsets() -> None:
    text = "a ${{  input.x }} b"
    assert [(p.text, p.offset, p.expression) for p in parse_template(text)] == [
        ("a ", 0, False),
        ("input.x", 7, True),
        (" b", 17, False),
    ]
    assert sole_expression(text) is None


@pytest.mark.parametrize(
    ("condition", "value"),
    [(True, True), (False, False), ("${{ input.n == 3 }}", True), ("${{ input.n == 4 }}", False)],
)
def test_a_condition_is_true_or_false(condition: str | bool, value: bool) -> None:
    assert truthy(condition, SCOPE) is value


@pytest.mark.parametrize("condition", ["${{ input.n }}", "${{ 'true' }}", "true", "${{ input.none }}", "x ${{ true }}"])
def test_a_condition_that_is_something_else_is_an_error(condition: str) -> None:
    with pytest.raises(ExprError, match="true or false"):
        truthy(condition, SCOPE)


def test_types_are_checked_where_they_are_known() -> None:
    types = {"input.n": "integer", "input.s": "string", "input.l": "strings"}
    assert [f.rule for f in expr.check("input.n + 'a'", types)] == ["expression-type"]
    assert [f.rule for f in expr.check("input.l.map(x, x + 1)", types)] == ["expression-type"]
    assert [f.rule for f in expr.check("input.n", types, want_bool=True)] == ["expression-type"]
    assert expr.check("has(input.n) && input.s == 'x'", types, want_bool=True) == []
    assert expr.check("input.other + 1", types) == []
    assert [f.rule for f in expr.check("input.s.matches('(')", types)] == ["invalid-regex"]


def test_a_scope_is_checked_once_and_has_only_known_names() -> None:
    scope = Scope.of({"input": {"a": 1}})
    assert evaluate("input.a", scope) == 1
    with pytest.raises(ExprError, match="secrets"):
        Scope.of({"secrets": {}})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text().filter(lambda t: "\0" not in t),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text().filter(lambda t: "\0" not in t), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_json_passes_through_an_expression_unchanged(value: object) -> None:
    assert evaluate("input", {"input": value}) == value
    assert evaluate("input.v", {"input": {"v": value}}) == value


@given(st.text(alphabet="input.steps[]{}()'\"+-*/?:&|!<>=,01ab \n", max_size=60))
@settings(max_examples=400, deadline=None)
def test_no_expression_crashes(text: str) -> None:
    try:
        evaluate(text, SCOPE)
    except ExprError as error:
        assert error.message


@given(st.text(alphabet="${} '\"\\ab", max_size=60))
@settings(max_examples=300, deadline=None)
def test_the_parts_of_a_template_cover_it(text: str) -> None:
    try:
        parts = parse_template(text)
    except TemplateError:
        return
    assert "".join(p.text for p in parts if not p.expression) in text or len(parts) > 1
    assert all(text[p.offset : p.offset + len(p.text)] == p.text for p in parts)
