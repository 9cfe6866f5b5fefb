"""Functions that a flow declares once and its steps use."""

from __future__ import annotations

from typing import Any

import pytest

from flows.definition.compiler import compile_source

FLOW = """
flow: totals
functions:
  total:
    code: sum(line['amount'] for line in lines)
    input: {type: object, required: [lines], properties: {lines: {type: array}}}
    output: {type: number}
    limits: {time: 1s}
steps:
  - id: paid
    function: {use: total, input: {lines: "${{ input.paid }}"}}
  - id: owed
    function: {use: total, input: {lines: []}, limits: {time: 2s}}
    fallback: {function: {use: total, input: {lines: []}}}
    compensate: {function: {use: total}}
  - id: own
    function: {code: "1 + 1"}
"""


def test_each_step_that_uses_a_function_carries_it_in_the_plan() -> None:
    plan, problems = compile_source(FLOW)
    assert plan is not None and problems == []
    paid, owed, own = (dict(step.config) for step in plan.steps)
    assert paid["code"] == owed["code"] == "sum(line['amount'] for line in lines)"
    assert (paid["takes"]["required"], paid["gives"]) == (["lines"], {"type": "number"})
    assert (paid["limits"]["time"], owed["limits"]) == (1.0, {"time": "2s"})
    fallback, undo = plan.step("owed").fallback, plan.step("owed").compensate
    assert fallback is not None and undo is not None
    assert (fallback.config or {})["code"] == undo.config["code"] == paid["code"]
    assert own == {"code": "1 + 1"}


def _problems(functions: str, step: str) -> list[tuple[str, str, int]]:
    text = f"flow: f\nfunctions: {functions}\nsteps:\n  - id: a\n    function: {step}\n"
    return [(p.rule, p.severity, p.line) for p in compile_source(text)[1]]


@pytest.mark.parametrize(
    ("functions", "step", "found"),
    [
        ("{}", "{use: total}", [("unknown-function", "error", 5)]),
        ("{total: {code: '1'}}", "{use: totl}", [("unused-function", "warning", 2), ("unknown-function", "error", 5)]),
        ("{total: {code: '1'}}", "{code: '1'}", [("unused-function", "warning", 2)]),
        ("{total: {code: '1'}}", "{use: total, code: '2'}", [("bad-value", "error", 5)]),
        ("{total: {code: '1'}}", "{use: total, gives: {}}", [("bad-value", "error", 5)]),
        ("{total: {code: 'x = ('}}", "{use: total}", [("code-syntax", "error", 2)]),
        ("{}", "{code: 'def f(:'}", [("code-syntax", "error", 5)]),
        ("{total: {code: '1', input: {type: nonsense}}}", "{use: total}", [("invalid-schema", "error", 2)]),
        ("{}", "{code: '1', takes: {type: nonsense}}", [("invalid-schema", "error", 5)]),
        ("{}", "{input: {}}", [("bad-value", "error", 5)]),
        ("{Total: {code: '1'}}", "{code: '1'}", [("bad-value", "error", 2)]),
        ("{total: {}}", "{use: total}", [("missing-key", "error", 2)]),
        ("{total: {code: '${{ input.x }}'}}", "{use: total}", [("bad-value", "error", 2)]),
    ],
)
def test_what_is_wrong_with_a_function_is_said_where_it_stands(functions: str, step: str, found: list[Any]) -> None:
    assert _problems(functions, step) == found
