"""Every rule of lint, with the place it points to, and what must not be reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.definition import reserved
from flows.definition.lint import Known, lint
from flows.definition.problems import RULES, Problem
from tests.definition import contracts_table, times_table

DEMO = (Path(__file__).parent / "golden/release_approval.yaml").read_text()
HEAD = "flow: f\ntitle: T\ndefaults: {timeout: 30s}\n"
INPUT = "input: {type: object, required: [n], properties: {n: {type: integer}, s: {type: string}}}\n"


def steps(text: str, head: str = HEAD) -> str:
    return f"{head}steps:\n{text}"


OK = "  - id: a\n    sleep: 1s\n"
GUARD = "  - id: ask\n    approval: {title: Go?, protects: [go]}\n"

#: name, text, rule, severity, line, column
TABLE: list[tuple[str, str, str, str, int, int]] = [
    ("typo", "titel: x\n" + steps(OK), "unknown-key", "error", 1, 1),
    ("typo in step", steps("  - id: a\n    timout: 1s\n    sleep: 1s\n"), "unknown-key", "error", 6, 5),
    ("typo in config", steps("  - id: a\n    http: {url: x, metod: GET}\n"), "unknown-key", "error", 6, 20),
    (
        "typo in nested",
        steps("  - id: a\n    retry: {max: 1s, tries: 2}\n    sleep: 1s\n"),
        "unknown-key",
        "error",
        6,
        22,
    ),
    ("model without end", steps("  - id: a\n    llm: {connection: c, prompt: x}\n"), "missing-budget", "warning", 6, 5),
    (
        "tool with effect",
        HEAD + "budget: {tokens: 1}\nsteps:\n  - id: a\n    llm:\n      connection: c\n      prompt: x\n      tools:\n"
        "        - {name: t, description: d, do: {http: {url: 'http://x/', method: POST}}}\n",
        "tool-with-effect",
        "error",
        11,
        42,
    ),
    ("no function", steps("  - id: a\n    function: {use: total}\n"), "unknown-function", "error", 6, 21),
    ("code", steps("  - id: a\n    function: {code: 'x = ('}\n"), "code-syntax", "error", 6, 22),
    ("function for nobody", HEAD + "functions: {f: {code: '1'}}\nsteps:\n" + OK, "unused-function", "warning", 4, 13),
    ("no slug", "title: T\nsteps:\n" + OK, "missing-key", "error", 1, 1),
    ("no steps", "flow: f\ntitle: x\n", "missing-key", "error", 1, 1),
    ("empty steps", HEAD + "steps: []\n", "bad-value", "error", 4, 8),
    ("step without id", steps("  - sleep: 1s\n"), "missing-key", "error", 5, 5),
    ("slug", "flow: My_Flow\ntitle: T\nsteps:\n" + OK, "bad-id", "error", 1, 7),
    ("step id", steps("  - id: A b\n    sleep: 1s\n"), "bad-id", "error", 5, 9),
    ("language 2", "language: 2\n" + steps(OK), "bad-value", "error", 1, 11),
    ("wrong type", steps("  - id: a\n    timeout: soon\n    sleep: 1s\n"), "bad-value", "error", 6, 14),
    (
        "text for number",
        steps("  - id: a\n    retry: {max_attempts: '3'}\n    sleep: 1s\n"),
        "bad-value",
        "error",
        6,
        27,
    ),
    ("error class", steps("  - id: a\n    retry: {on: [oops]}\n    sleep: 1s\n"), "bad-value", "error", 6, 18),
    ("duplicate", steps(OK + OK), "duplicate-id", "error", 7, 9),
    ("two manual", "triggers: [{manual: {}}, {manual: {}}]\n" + steps(OK), "duplicate-id", "error", 1, 27),
    ("two families", steps("  - id: a\n    sleep: 1s\n    kv: {get: {key: k}}\n"), "step-family", "error", 7, 5),
    ("no family", steps("  - id: a\n    when: always\n"), "step-family", "error", 5, 5),
    ("need", steps(OK + "  - id: b\n    needs: [aa]\n    sleep: 1s\n"), "unknown-step", "error", 8, 13),
    ("cycle", steps("  - id: a\n    needs: [b]\n    sleep: 1s\n  - id: b\n    sleep: 1s\n"), "cycle", "error", 6, 12),
    ("needs itself", steps("  - id: a\n    needs: [a]\n    sleep: 1s\n"), "cycle", "error", 6, 12),
    ("if false", steps("  - id: a\n    if: false\n    sleep: 1s\n"), "unreachable-step", "warning", 6, 9),
    ("first on failure", steps("  - id: a\n    when: failure\n    sleep: 1s\n"), "unreachable-step", "error", 6, 11),
    ("reads unknown", steps("  - id: a\n    sleep: ${{ steps.x.output }}\n"), "unknown-step", "error", 6, 16),
    ("reads itself", steps("  - id: a\n    sleep: ${{ steps.a.output }}\n"), "not-upstream", "error", 6, 16),
    ("reads later", steps("  - id: b\n    sleep: '${{ steps.a.output }}'\n" + OK), "not-upstream", "error", 6, 17),
    (
        "reads beside",
        steps(OK + "  - id: b\n    needs: []\n    sleep: ${{ steps.a.output }}\n"),
        "not-upstream",
        "error",
        9,
        16,
    ),
    (
        "reads any step",
        steps(OK + "  - id: b\n    sleep: ${{ steps[run.id].output }}\n"),
        "not-upstream",
        "error",
        8,
        16,
    ),
    ("step field", steps(OK + "  - id: b\n    sleep: ${{ steps.a.result }}\n"), "unknown-name", "error", 8, 16),
    ("url of no wait", steps(OK + "  - id: b\n    sleep: ${{ steps.a.url }}\n"), "unknown-name", "error", 8, 16),
    (
        "skipped",
        steps("  - id: a\n    if: ${{ run.id == 'x' }}\n    sleep: 1s\n  - id: b\n    sleep: ${{ steps.a.output }}\n"),
        "may-not-have-run",
        "warning",
        9,
        16,
    ),
    (
        "after failure",
        steps(OK + "  - id: b\n    when: always\n    sleep: ${{ steps.a.output }}\n"),
        "may-not-have-run",
        "warning",
        9,
        16,
    ),
    ("syntax", steps("  - id: a\n    sleep: ${{ 1 + }}\n"), "expression-syntax", "error", 6, 19),
    ("not closed", steps("  - id: a\n    sleep: x ${{ 1\n"), "expression-syntax", "error", 6, 14),
    ("types", INPUT + steps("  - id: a\n    sleep: ${{ input.n + 'a' }}\n"), "expression-type", "error", 7, 24),
    (
        "if not bool",
        INPUT + steps("  - id: a\n    if: ${{ input.n }}\n    sleep: 1s\n"),
        "expression-type",
        "error",
        7,
        13,
    ),
    ("bare if", steps("  - id: a\n    if: input.n > 1\n    sleep: 1s\n"), "expression-required", "error", 6, 9),
    (
        "mixed if",
        steps("  - id: a\n    if: ${{ true }} and ${{ true }}\n    sleep: 1s\n"),
        "expression-required",
        "error",
        6,
        9,
    ),
    ("too long", steps("  - id: a\n    sleep: ${{ " + "1 + " * 2000 + "1 }}\n"), "expression-limit", "error", 6, 16),
    (
        "too deep",
        steps("  - id: a\n    sleep: ${{ " + "(" * 99 + "1" + ")" * 99 + " }}\n"),
        "expression-limit",
        "error",
        6,
        16,
    ),
    ("clock", steps("  - id: a\n    sleep: ${{ now() }}\n"), "unknown-name", "error", 6, 19),
    ("item outside", steps("  - id: a\n    sleep: ${{ item }}\n"), "unknown-name", "error", 6, 16),
    ("steps in key", "concurrency: {key: '${{ steps.a.output }}'}\n" + steps(OK), "unknown-name", "error", 1, 25),
    (
        "input in trigger",
        "triggers:\n  - webhook: {verify: github, secret: s, if: '${{ input.n == 1 }}'}\n" + steps(OK),
        "unknown-name",
        "error",
        2,
        51,
    ),
    (
        "undeclared variable",
        "vars: {y: {}}\n" + steps("  - id: a\n    sleep: ${{ vars.x }}\n"),
        "unknown-variable",
        "error",
        7,
        16,
    ),
    (
        "vars type",
        "vars: {x: {type: string}}\n" + steps("  - id: a\n    sleep: ${{ vars.x + 1 }}\n"),
        "expression-type",
        "error",
        7,
        23,
    ),
    ("vars default", "vars: {x: {type: string, default: 5}}\n" + steps(OK), "bad-value", "error", 1, 35),
    ("vars schema", "vars: {x: {type: strong}}\n" + steps(OK), "invalid-schema", "error", 1, 18),
    (
        "vars in trigger",
        "triggers: [{webhook: {verify: github, secret: s, if: '${{ vars.x == 1 }}'}}]\n" + steps(OK),
        "unknown-name",
        "error",
        1,
        59,
    ),
    ("vars", steps("  - id: a\n    sleep: ${{ vars.x }}\n"), "unknown-variable", "error", 6, 16),
    ("input typo", INPUT + steps("  - id: a\n    sleep: ${{ input.m }}\n"), "unknown-input", "warning", 7, 16),
    ("code template", steps("  - id: a\n    function: {code: '${{ input.n }}'}\n"), "bad-value", "error", 6, 22),
    ("schema", "input: {type: objekt}\n" + steps(OK), "invalid-schema", "error", 1, 15),
    ("remote ref", "input: {$ref: 'http://127.0.0.1/x'}\n" + steps(OK), "invalid-schema", "error", 1, 15),
    ("file ref", "input: {allOf: [{$ref: 'file:///etc/passwd'}]}\n" + steps(OK), "invalid-schema", "error", 1, 24),
    (
        "pattern",
        "input: {type: object, properties: {a: {type: string, pattern: '('}}}\n" + steps(OK),
        "invalid-regex",
        "error",
        1,
        63,
    ),
    (
        "matches",
        INPUT + steps("  - id: a\n    if: ${{ input.s.matches('(') }}\n    sleep: 1s\n"),
        "invalid-regex",
        "error",
        7,
        29,
    ),
    ("github token", steps(OK) + "description: ghp_" + "a1B2" * 9 + "\n", "secret-in-text", "error", 7, 14),
    ("aws key", steps(OK) + "description: AKIAIOSFODNN7EXAMPLE\n", "secret-in-text", "error", 7, 14),
    ("api key", steps(OK) + "description: sk-abcdefghij0123456789\n", "secret-in-text", "error", 7, 14),
    ("private key", steps(OK) + "description: '-----BEGIN RSA PRIVATE KEY-----'\n", "secret-in-text", "error", 7, 15),
    (
        "password in url",
        steps("  - id: a\n    http: {url: 'https://me:hunter22@x/'}\n"),
        "secret-in-text",
        "error",
        6,
        23,
    ),
    (
        "random",
        steps(OK) + "description: q8Zr3LxV0bTn7YcW5mKd2HfJ9sGp4QaE6uRi\n",
        "secret-in-text",
        "warning",
        7,
        14,
    ),
    (
        "no timeout",
        "flow: f\ntitle: T\n" + "steps:\n  - id: a\n    http: {url: x}\n",
        "missing-timeout",
        "warning",
        4,
        9,
    ),
    ("wait without end", steps("  - id: a\n    wait: {callback: {}}\n"), "missing-timeout", "warning", 6, 22),
    (
        "retry cap",
        steps("  - id: a\n    retry: {max_attempts: 50}\n    sleep: 1s\n"),
        "missing-retry-cap",
        "warning",
        6,
        12,
    ),
    (
        "irreversible",
        steps("  - id: a\n    irreversible: true\n    sleep: 1s\n"),
        "irreversible-unprotected",
        "error",
        6,
        19,
    ),
    (
        "protects a step before it",
        steps("  - id: go\n    sleep: 1s\n" + GUARD),
        "protects-not-downstream",
        "error",
        8,
        39,
    ),
    ("protects nothing", steps(GUARD), "unknown-step", "error", 6, 39),
    (
        "not computable",
        steps(
            GUARD
            + "  - id: mid\n    sleep: 1s\n  - id: go\n    kv: {set: {key: a, value: '${{ steps.mid.output }}'}}\n"
        ),
        "protected-not-computable",
        "error",
        10,
        31,
    ),
    (
        "not computable from the decision",
        steps(GUARD + "  - id: go\n    kv: {set: {key: a, value: '${{ steps.ask.output.by }}'}}\n"),
        "protected-not-computable",
        "error",
        8,
        31,
    ),
    (
        "fallback acts",
        steps(GUARD + "  - id: go\n    http: {url: x}\n    fallback: {http: {url: y}}\n"),
        "fallback-unprotected",
        "error",
        9,
        5,
    ),
    (
        "undoing that waits",
        steps("  - id: a\n    http: {url: x}\n    timeout: 1s\n    compensate: {sleep: 1s}\n"),
        "compensate-waits",
        "error",
        8,
        18,
    ),
    ("form not flat", steps("  - id: a\n    approval: {title: T, form: {type: array}}\n"), "bad-value", "error", 6, 32),
    (
        "expression in schema",
        steps(
            "  - id: a\n    approval: {title: T, form: {type: object, properties: {w: {enum: ['${{ input.x }}']}}}}\n"
        ),
        "template-not-allowed",
        "error",
        6,
        71,
    ),
    ("cron", "triggers: [{schedule: {cron: '0 6 * *'}}]\n" + steps(OK), "bad-cron", "error", 1, 30),
    ("never due", "triggers: [{schedule: {cron: '0 0 30 2 *'}}]\n" + steps(OK), "bad-cron", "error", 1, 30),
    (
        "zone",
        "triggers: [{schedule: {cron: '0 6 * * *', timezone: Mars/X}}]\n" + steps(OK),
        "unknown-timezone",
        "error",
        1,
        53,
    ),
    (
        "schedule without input",
        INPUT + "triggers: [{schedule: {cron: '0 6 * * *'}}]\n" + steps(OK),
        "schedule-input",
        "error",
        2,
        23,
    ),
    (
        "schedule with the wrong input",
        INPUT + "triggers: [{schedule: {cron: '0 6 * * *', input: {n: x}}}]\n" + steps(OK),
        "schedule-input",
        "error",
        2,
        50,
    ),
    (
        "schedule that reads a body",
        "triggers: [{schedule: {cron: '0 6 * * *', input: {n: '${{ trigger.body }}'}}}]\n" + steps(OK),
        "schedule-input",
        "error",
        1,
        50,
    ),
    (
        "two schedules",
        "triggers: [{schedule: {cron: '0 6 * * *'}}, {schedule: {cron: '0 7 * * *'}}]\n" + steps(OK),
        "duplicate-id",
        "error",
        1,
        46,
    ),
    (
        "never a second run",
        "triggers: [{schedule: {cron: '0 6 * * *', overlap: never}}]\n" + steps(OK),
        "bad-value",
        "error",
        1,
        52,
    ),
    (
        "key in a header",
        steps('  - id: a\n    http: {url: "https://a.example", headers: {X-Api-Key: abc}}\n'),
        "credential-in-header",
        "error",
        6,
        59,
    ),
    (
        "rows without end",
        steps("  - id: a\n    db: {connection: c, query: SELECT a FROM t}\n    timeout: 9s\n"),
        "unbounded-output",
        "warning",
        6,
        25,
    ),
    (
        "an expression in SQL",
        steps("  - id: a\n    db: {connection: c, query: 'SELECT ${{ input.a }} LIMIT 1'}\n    timeout: 9s\n"),
        "bad-value",
        "error",
        6,
        32,
    ),
    (
        "SQL without its value",
        steps("  - id: a\n    db: {connection: c, query: 'SELECT :a LIMIT 1'}\n    timeout: 9s\n"),
        "bad-value",
        "error",
        6,
        9,
    ),
    ("open webhook", "triggers: [{webhook: {verify: none}}]\n" + steps(OK), "unverified-webhook", "warning", 1, 31),
    (
        "webhook with sha1",
        "triggers: [{webhook: {verify: hmac, secret: s, hmac: {header: X-S, algorithm: sha1}}}]\n" + steps(OK),
        "weak-signature",
        "warning",
        1,
        79,
    ),
    (
        "webhook for all",
        "triggers: [{webhook: {verify: github, secret: s, allow: [0.0.0.0/0]}}]\n" + steps(OK),
        "open-network",
        "error",
        1,
        58,
    ),
    (
        "webhook hmac without header",
        "triggers: [{webhook: {verify: hmac, secret: s}}]\n" + steps(OK),
        "bad-value",
        "error",
        1,
        22,
    ),
    (
        "webhook with a wrong network",
        "triggers: [{webhook: {verify: none, allow: [203.0.113.7/24]}}]\n" + steps(OK),
        "bad-value",
        "error",
        1,
        45,
    ),
    (
        "webhook of no kind",
        "triggers: [{webhook: {verify: standard, secret: s}}]\n" + steps(OK),
        "bad-value",
        "error",
        1,
        31,
    ),
    (
        "webhook answer reads the run only",
        "triggers: [{webhook: {verify: github, secret: s, respond: {output: '${{ steps.a.output }}'}}}]\n" + steps(OK),
        "unknown-name",
        "error",
        1,
        73,
    ),
    ("secret missing", "triggers: [{webhook: {verify: github}}]\n" + steps(OK), "bad-value", "error", 1, 22),
    *contracts_table.TABLE,
    *times_table.TABLE,
]


@pytest.mark.parametrize(
    ("text", "rule", "severity", "line", "column"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE]
)
def test_lint_says_what_is_wrong_and_where(text: str, rule: str, severity: str, line: int, column: int) -> None:
    problems = lint(text)
    assert [(p.rule, p.severity, p.line, p.column) for p in problems] == [(rule, severity, line, column)]
    assert problems[0].message
    assert problems[0].hint


def test_every_rule_that_is_not_of_yaml_or_names_is_in_the_table() -> None:
    elsewhere = (
        {r for r in RULES if r.startswith("yaml-")}
        | {f"unknown-{n}" for n in ("connection", "secret", "group", "user", "flow")}
        | {"not-available", "unset-variable", "wrong-connection-kind"}
    )
    assert {t[2] for t in TABLE} | elsewhere == set(RULES)


STEP_KEYS = ["compensate: {agent: {}}"]
FLOW_KEYS: list[str] = []


@pytest.mark.parametrize(
    "text",
    [steps(f"  - id: a\n    {key}\n    sleep: 1s\n") for key in STEP_KEYS]
    + [f"{key}\n" + steps(OK) for key in FLOW_KEYS]
    + [steps(f"  - id: a\n    {family}: {{}}\n") for family in sorted(reserved.FAMILIES)]
    + [
        steps("  - id: a\n    approval: {title: T, escalate: {after: 2h}}\n"),
        steps("  - id: a\n    approval: {title: T, on_expiry: escalate}\n"),
        steps("  - id: a\n    http: {url: x}\n    fallback: {agent: {}}\n"),
        steps("  - id: a\n    for_each: {items: [1]}\n    approval: {title: T}\n"),
    ],
)
def test_what_comes_later_is_refused_by_name(text: str) -> None:
    problems = [p for p in lint(text) if p.rule != "bad-value"]
    assert {p.rule for p in problems} == {"not-available"}
    assert "not available in this version yet" in problems[0].message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("max_queued: 0\n" + steps(OK), 1),
        ("priority: 11\n" + steps(OK), 1),
        ("queue: Not A Queue\n" + steps(OK), 1),
        ("on_new_release: replace\n" + steps(OK), 1),
        ("concurrency: {on_conflict: wait}\n" + steps(OK), 1),
        (steps("  - id: a\n    priority: 1.5\n    sleep: 1s\n"), 6),
        (steps("  - id: a\n    queue: ''\n    sleep: 1s\n"), 6),
    ],
)
def test_load_keys_are_checked(text: str, line: int) -> None:
    assert [(p.rule, p.line) for p in lint(text)] == [("bad-value", line)]


def test_a_way_around_the_approval_is_reported_on_both_ends() -> None:
    problems = lint(steps(GUARD + "  - id: go\n    needs: []\n    irreversible: true\n    sleep: 1s\n"))
    assert [(p.rule, p.line) for p in problems] == [("protects-not-downstream", 6), ("irreversible-unprotected", 9)]


def test_a_typo_gets_the_right_key() -> None:
    (problem,) = lint(steps("  - id: a\n    http: {url: x, headrs: {}}\n"))
    assert problem.hint == "Did you mean `headers`?"


def test_the_demo_flow_has_no_problem() -> None:
    known = Known({"world": "http"}, {"github-hook"}, {"reviewers"}, set())
    assert lint(DEMO, known=known) == []


def test_names_that_do_not_exist_are_reported_where_it_is_known() -> None:
    problems = lint(DEMO, known=Known({}, {"github-hoook"}, set(), set()))
    assert {p.rule for p in problems} == {"unknown-connection", "unknown-secret", "unknown-group"}
    assert next(p for p in problems if p.rule == "unknown-secret").hint == "Did you mean `github-hoook`?"
    assert lint(DEMO, known=Known()) == []


@pytest.mark.parametrize(
    "text",
    [
        steps(
            "  - id: a\n    if: ${{ run.id == 'x' }}\n    sleep: 1s\n"
            "  - id: b\n    sleep: ${{ steps.a.?output.orValue(1) }}\n"
        ),
        steps(
            "  - id: a\n    if: ${{ run.id == 'x' }}\n    sleep: 1s\n"
            "  - id: b\n    if: ${{ steps.a.status == 'succeeded' }}\n    sleep: ${{ steps.a.output }}\n"
        ),
        steps(
            "  - id: a\n    http: {url: 'x?cb=${{ steps.w.url }}'}\n  - id: w\n    wait: {callback: {timeout: 1h}}\n"
        ),
        steps(
            GUARD
            + "  - id: go\n    irreversible: true\n    kv: {set: {key: a, value: '${{ steps.ask.output.form.w }}'}}\n"
        ),
        steps(GUARD + "  - id: go\n    irreversible: true\n    http: {url: x}\n    fallback: {value: null}\n"),
        steps(
            "  - id: a\n    for_each: {items: '${{ input.l }}'}\n"
            "    kv: {set: {key: '${{ item }}', value: '${{ item_index }}'}}\n"
        ),
        steps("  - id: a-b\n    sleep: 1s\n  - id: c\n    sleep: \"${{ steps['a-b'].output }}\"\n"),
        steps("  - id: a\n    wait: {callback: {timeout: 1h}}\n  - id: b\n    wait: {until: '2026-01-01T00:00:00Z'}\n"),
        "triggers: [{manual: {}}]\n" + steps(OK),
        steps(OK) + "description: 3f786850e387550fdab836ed7e6dc881de23001b\n",
    ],
)
def test_a_sound_flow_has_no_problem(text: str) -> None:
    assert lint(text) == []


def test_a_place_inside_a_block_text_is_the_line_of_the_expression() -> None:
    text = steps("  - id: a\n    approval:\n      title: T\n      summary: |\n        one\n        two ${{ input. }}\n")
    (problem,) = lint(text)
    assert (problem.rule, problem.line) == ("expression-syntax", 10)


def test_problems_come_in_order_and_in_the_published_shape() -> None:
    problems = lint("steps:\n  - id: B\n    llm: {}\n  - nope\nfoo: 1\n")
    assert [p.line for p in problems] == sorted(p.line for p in problems)
    assert set(problems[0].to_json()) == {"rule", "severity", "line", "column", "message", "hint"}
    assert all(p.hint for p in problems)


def test_a_rule_must_be_published() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Problem("nonsense", "error", 1, 1, "x")


def test_thousands_of_expressions_are_one_problem() -> None:
    text = steps('  - id: a\n    kv: {set: {key: k, value: "' + "${{ run.id }}" * 15_000 + '"}}\n')
    assert [p.rule for p in lint(text)] == ["expression-limit"]
    values = ", ".join(f"'${{{{ input.a{i} + input.b }}}}'" for i in range(6000))
    assert [p.rule for p in lint(steps(f"  - id: a\n    kv: {{set: {{key: k, value: [{values}]}}}}\n"))] == [
        "expression-limit"
    ]


NONSENSE: list[Any] = [None, True, -1, 1.5, "x", [], [[]], [None], [1, 2], {}, {"x": 1}]
WHOLE = {
    "fallback": {"value": 1, "on": ["timeout"]},
    "already_done": {"http": {"url": "https://a.example"}, "if": "${{ check.output.status == 200 }}"},
    "route": {"rules": [{"if": "${{ input.a > 1 }}", "to": ["b"]}], "default": {"to": ["b"]}},
}


@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
@pytest.mark.parametrize(
    "place",
    ["fallback.on", "already_done.if", "route.rules", "route.default", "route.rules.0", "route.rules.0.to"],
)
def test_nonsense_below_a_key_is_a_problem_with_a_place_and_a_mend(place: str, nonsense: object) -> None:
    key, *inner, last = place.split(".")
    whole = json.loads(json.dumps(WHOLE[key]))
    at = whole
    for name in inner:
        at = at[int(name) if isinstance(at, list) else name]
    at[int(last) if isinstance(at, list) else last] = nonsense
    acts = {} if key == "route" else {"http": {"url": "https://a.example"}, "timeout": "9s", "retry": {"window": "1m"}}
    flow = {"flow": "f", "steps": [{"id": "a", key: whole, **acts}, {"id": "b", "function": {"code": "1"}}]}
    errors = [p for p in lint(json.dumps(flow)) if p.severity == "error"]
    assert all(p.line and p.column and p.message and p.hint for p in errors)
    assert errors or (place, nonsense) in [("route.default", {}), ("route.rules.0.to", [])]


LINES = DEMO.splitlines()


@given(
    st.integers(0, len(LINES) - 1),
    st.sampled_from(["", "  x: [", "- 1", "steps: 3", "\t", "  - id: [a]", "input: x", "    http: 3"]),
)
@settings(max_examples=150, deadline=None)
def test_no_damage_to_a_flow_makes_lint_raise(line: int, text: str) -> None:
    for damaged in ([*LINES[:line], text, *LINES[line + 1 :]], [*LINES[:line], text, *LINES[line:]]):
        for problem in lint("\n".join(damaged)):
            assert problem.rule in RULES
            assert problem.line >= 1


def test_a_public_key_in_the_flow_is_no_secret() -> None:
    der = "MCowBQYDK2VwAyEAd5Vlgc7LpkAFr2+tR9kHsfeZ2JNQzYB1xWvUE8mIoPA="
    pem = f"|\n          -----BEGIN PUBLIC KEY-----\n          {der}\n          -----END PUBLIC KEY-----"
    for key in (der, pem):
        hook = f"triggers:\n  - webhook:\n      verify: ecdsa\n      ecdsa:\n        header: X-S\n        key: {key}\n"
        assert [p for p in lint(HEAD + hook + steps(OK)) if p.rule == "secret-in-text"] == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("    ssh: {connection: box, command: [make]}\n    timeout: 11m\n", "ssh-long"),
        ("    ssh: {connection: box, command: [make], stdout: resource}\n    timeout: 1m\n", "output-unbounded"),
        ("    ssh: {connection: box, command: [make], callback: b}\n    timeout: 1m\n", "unknown-step"),
        ("    ssh: {connection: box, command: [make], callback: a}\n    timeout: 1m\n", "bad-value"),
        (
            "    function: {code: '1'}\n    compensate: {ssh: {connection: box, command: [a], callback: b}}\n",
            "unknown-step",
        ),
    ],
)
def test_remote_commands_that_stay_say_or_call_too_much_are_reported(text: str, rule: str) -> None:
    assert [p.rule for p in lint(steps("  - id: a\n" + text))] == [rule]


def test_a_detached_command_may_take_as_long_as_it_likes() -> None:
    text = "    ssh: {connection: box, command: [make], detached: true, callback: b}\n    timeout: 11m\n"
    wait = "  - id: b\n    wait: {callback: {timeout: 1h}}\n"
    assert lint(steps("  - id: a\n" + text + wait)) == []


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("Authorization", "Bearer abc", True),
        ("proxy-authorization", "x", True),
        ("Cookie", "session=1", True),
        ("X-Api-Key", "hunter22", True),
        ("Private-Token", "hunter22", True),
        ("Ocp-Apim-Subscription-Key", "hunter22", True),
        ("X-Auth-Token", "${{ input.token }}", False),
        ("X-Atlassian-Token", "no-check", False),
        ("X-Request-Id", "hunter22", False),
        ("Accept", "application/json", False),
    ],
)
def test_a_credential_in_a_header_is_an_error_that_names_where_it_belongs(name: str, value: str, found: bool) -> None:
    http = f'{{url: "https://a.example", headers: {{{name}: "{value}"}}}}'
    flow = "input: {type: object, properties: {token: {type: string}}}\n"
    for text in (
        f"    http: {http}\n    timeout: 5s\n",
        f"    sleep: 1s\n    compensate: {{http: {http}}}\n",
        f"    db: {{connection: d, query: 'select 1'}}\n    timeout: 5s\n    fallback: {{http: {http}}}\n",
    ):
        problems = [p for p in lint(steps("  - id: a\n" + text, HEAD + flow)) if p.rule == "credential-in-header"]
        assert len(problems) == found
        assert not found or (
            problems[0].severity == "error" and "auth" in problems[0].hint and name in problems[0].message
        )
