"""The compiled plan: the demo flow as golden, determinism, needs, defaults, round trips."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.definition.compiler import compile_source
from flows.definition.plan import Fallback, Plan, Retry

GOLDEN = Path(__file__).parent / "golden"
DEMO = (GOLDEN / "release_approval.yaml").read_text()


def compiled(source: str) -> Plan:
    plan, problems = compile_source(source)
    assert plan is not None, problems
    return plan


def test_the_demo_flow_compiles_to_the_golden_plan() -> None:
    expected = json.loads((GOLDEN / "release_approval.json").read_text())
    assert json.loads(compiled(DEMO).canonical()) == expected


def test_a_plan_survives_storage() -> None:
    plan = compiled(DEMO)
    again = Plan.from_json(json.loads(plan.canonical()))
    assert again == plan or again.canonical() == plan.canonical()
    assert again.checksum == plan.checksum


def shuffled(tree: Any, rng: random.Random) -> Any:
    if isinstance(tree, dict):
        items = list(tree.items())
        rng.shuffle(items)
        return {k: shuffled(v, rng) for k, v in items}
    return [shuffled(v, rng) for v in tree] if isinstance(tree, list) else tree


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_checksum_does_not_see_comments_layout_or_key_order(seed: int, flow_style: bool) -> None:
    data = shuffled(yaml.safe_load(DEMO), random.Random(seed))
    text = "# a comment\n" + yaml.safe_dump(data, sort_keys=False, default_flow_style=flow_style, width=60)
    assert compiled(text).checksum == compiled(DEMO).checksum


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("500ms", "501ms"),
        ("tag }}\n      summary", "tag }}!\n      summary"),
        ("POST", "PUT"),
        ("quorum: 1", "quorum: 2"),
    ],
)
def test_the_checksum_sees_every_change_of_meaning(old: str, new: str) -> None:
    assert old in DEMO
    assert compiled(DEMO.replace(old, new, 1)).checksum != compiled(DEMO).checksum


def test_there_is_no_plan_when_there_is_an_error() -> None:
    plan, problems = compile_source(DEMO.replace("function:", "funktion:"))
    assert plan is None
    assert any(p.is_error for p in problems)


def test_warnings_do_not_stop_a_plan() -> None:
    plan, problems = compile_source("flow: f\ntitle: T\nsteps: [{id: a, http: {url: x}}]\n")
    assert plan is not None
    assert [p.rule for p in problems] == ["missing-timeout"]


def test_needs_follow_the_list_unless_said_otherwise() -> None:
    plan = compiled(
        "flow: f\ntitle: T\nsteps:\n"
        "  - {id: a, sleep: 1s}\n  - {id: b, sleep: 1s}\n  - {id: c, needs: [], sleep: 1s}\n"
        "  - {id: d, sleep: 1s}\n  - {id: e, needs: [b, d], sleep: 1s}\n"
    )
    assert {s.id: s.needs for s in plan.steps} == {"a": (), "b": ("a",), "c": (), "d": ("c",), "e": ("b", "d")}


def test_a_steps_retry_is_laid_over_the_defaults() -> None:
    plan = compiled(
        "flow: f\ntitle: T\ndefaults: {timeout: 5s, retry: {max_attempts: 7, factor: 3}}\nsteps:\n"
        "  - {id: a, retry: {max_attempts: 2, max: 1m30s, give_up_on: [http_4xx]}, http: {url: x}}\n"
        "  - {id: b, timeout: 250ms, http: {url: x}}\n"
    )
    assert plan.step("a").retry == Retry(max_attempts=2, factor=3.0, max=90.0, give_up_on=("http_4xx",))
    assert (plan.step("a").timeout, plan.step("b").timeout) == (5.0, 0.25)
    assert plan.step("b").retry == Retry(max_attempts=7, factor=3.0)


def test_short_forms_become_long_and_fallbacks_keep_their_kind() -> None:
    plan = compiled(
        "flow: f\ntitle: T\nsteps:\n"
        "  - {id: a, sleep: 10m}\n"
        "  - {id: b, wait: {callback: }}\n"
        "  - {id: c, timeout: 1s, http: {url: x}, fallback: {value: null}}\n"
        "  - {id: d, timeout: 1s, http: {url: x}, fallback: {kv: {get: {key: k}}}}\n"
    )
    assert plan.step("a").config == {"duration": "10m"}
    assert plan.step("b").config == {"callback": {}}
    assert plan.step("c").fallback == Fallback()
    assert plan.step("d").fallback == Fallback(family="kv", config={"get": {"key": "k"}})


def test_a_webhook_is_named_after_what_it_verifies() -> None:
    plan = compiled(
        "flow: f\ntitle: T\nsteps: [{id: a, sleep: 1s}]\ntriggers:\n  - manual: {}\n"
        "  - webhook: {verify: github, secret: s}\n  - webhook: {verify: bearer, secret: s}\n"
        '  - webhook: {name: other, verify: bearer, secret: s, if: "${{ trigger.body.x == 1 }}"}\n'
    )
    assert [t.name for t in plan.triggers] == ["manual", "github", "webhook", "other"]
    assert plan.triggers[3].config == {"verify": "bearer", "secret": "s", "if": "${{ trigger.body.x == 1 }}"}


def test_a_protected_step_knows_its_approvals() -> None:
    plan = compiled(
        "flow: f\ntitle: T\nsteps:\n  - {id: one, approval: {title: A, protects: [go]}}\n"
        "  - {id: two, approval: {title: B, protects: [go]}}\n  - {id: go, irreversible: true, kv: {get: {key: k}}}\n"
    )
    assert plan.step("go").protected_by == ("one", "two")
