"""Child flows with real workers, on both databases."""

from __future__ import annotations

import pytest

from flows.models import Flow
from flows.steps.call.config import MAX_DEPTH
from runs import actions, clock, controls, store, waits
from runs.models import Run, RunEvent, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow
from tests.engine.test_store_queue import drain

CHILD = """
flow: child
input: {type: object, required: [n], properties: {n: {type: integer}}}
steps:
  - {id: double, function: {code: "n * 2 if n >= 0 else fail", input: {n: "${{ input.n }}"}}, retry: {max_attempts: 1}}
output: {n: "${{ steps.double.output }}"}
"""
SLOW = """
flow: child
steps:
  - id: long
    wait: {callback: {timeout: 1h}}
"""
PARENT = """
flow: parent
steps:
  - id: one
    call: {flow: child, input: {n: 4}}
  - id: each
    for_each: {items: [1, 2, 3]}
    call: {flow: child, input: {n: "${{ item }}"}}
output: {one: "${{ steps.one.output.n }}", each: "${{ steps.each.output.map(o, o.n) }}"}
"""


def parent_of(step: str, **more: str) -> Flow:
    lines = "".join(f"\n{name}: {value}" for name, value in more.items())
    return make_flow(f"flow: parent{lines}\nsteps:\n  - id: go\n    {step}\n")


def only(run: str) -> Run:
    return Run.objects.get(parent_id=run)


def test_children_run_one_and_many_and_their_outputs_are_the_steps(database: str) -> None:
    make_flow(CHILD)
    run = begin(make_flow(PARENT))
    drain(Worker("w"))
    found = Run.objects.get(pk=run)
    assert (found.status, found.output) == ("succeeded", {"one": 8, "each": [2, 4, 6]})
    rows = Run.objects.filter(parent_id=run).order_by("parent_step", "parent_item")
    assert [(r.parent_step, r.parent_item, r.depth) for r in rows] == [
        ("each", 0, 1), ("each", 1, 1), ("each", 2, 1), ("one", -1, 1),
    ]  # fmt: skip
    assert not Work.objects.exists()
    check_fold(run)


def test_a_child_is_pinned_to_a_release(database: str) -> None:
    make_flow(CHILD)
    run = begin(parent_of('call: {flow: child, release: "1.0.0", input: {n: 1}}'))
    missing = begin(make_flow('flow: other\nsteps:\n  - id: go\n    call: {flow: child, release: "9.9.9"}\n'))
    drain(Worker("w"))
    assert only(run).release.version == "1.0.0"
    error = Run.objects.get(pk=missing).error or {}
    assert error["class"] == "refused" and "9.9.9" in error["message"]


def test_a_child_that_fails_fails_its_step_with_a_way_to_it(database: str) -> None:
    make_flow(CHILD)
    run = begin(parent_of("call: {flow: child, input: {n: -1}}"))
    drain(Worker("w"))
    error = Run.objects.get(pk=run).error or {}
    assert error["class"] == "child_failed"
    assert error["details"]["run"] == only(run).pk
    assert error["details"]["error"]["class"] == "code"
    check_fold(run)


def test_an_input_the_child_does_not_take_fails_before_anything_starts(database: str) -> None:
    make_flow(CHILD)
    run = begin(parent_of("call: {flow: child, input: {n: many}}"))
    drain(Worker("w"))
    assert (Run.objects.get(pk=run).error or {})["class"] == "input"
    assert not Run.objects.filter(parent_id=run).exists()


@pytest.mark.parametrize(("policy", "ends"), [("cancel", "cancelled"), ("abandon", "waiting")])
def test_when_its_caller_is_cancelled_a_child_is_cancelled_or_left_alone(
    database: str, policy: str, ends: str
) -> None:  # fmt: skip
    make_flow(SLOW)
    run = begin(parent_of(f"call: {{flow: child, on_parent_close: {policy}}}"))
    drain(Worker("w"))
    actions.cancel_run(actor=SYSTEM, run_id=run, reason="enough")
    drain(Worker("w"))
    assert (Run.objects.get(pk=run).status, only(run).status) == ("cancelled", ends)


def test_a_paused_child_is_cancelled_with_its_caller_too(database: str) -> None:
    make_flow(SLOW)
    run = begin(parent_of("call: {flow: child}"))
    drain(Worker("w"))
    actions.pause_run(actor=SYSTEM, run_id=only(run).pk, reason="hold")
    actions.cancel_run(actor=SYSTEM, run_id=run, reason="enough")
    drain(Worker("w"))
    assert only(run).status == "cancelled"


def test_a_step_whose_time_is_up_lets_its_child_go(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_flow(SLOW)
    run = begin(parent_of("call: {flow: child, timeout: 30s}"))
    drain(Worker("w"))
    Work.objects.filter(run_id=run, kind="timer").update(wake_at=clock.now() - 1)
    drain(Worker("w"))
    assert (Run.objects.get(pk=run).error or {})["class"] == "expired"
    assert only(run).status == "cancelled"


def test_a_flow_that_calls_itself_ends_at_the_depth_limit(database: str) -> None:
    run = begin(make_flow("flow: loop\nsteps:\n  - id: again\n    call: loop\n"))
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "failed"
    deepest = Run.objects.order_by("-depth").first()
    assert deepest is not None and deepest.depth == MAX_DEPTH
    assert "deep" in (deepest.error or {})["message"]


def test_a_child_that_would_wait_for_a_key_its_caller_holds_fails_as_a_deadlock(database: str) -> None:
    key = "concurrency: {key: same, limit: 1}"
    run = begin(make_flow(f"flow: loop\n{key}\nsteps:\n  - id: again\n    call: loop\n"))
    drain(Worker("w"))
    found = Run.objects.get(pk=run)
    assert (found.status, (found.error or {})["class"]) == ("failed", "deadlock"), found.error


def test_a_retry_of_the_failed_step_starts_another_child(database: str) -> None:
    make_flow(CHILD)
    run = begin(parent_of("call: {flow: child, input: {n: -1}}"))
    drain(Worker("w"))
    controls.retry_run(actor=SYSTEM, run_id=run, reason="again")
    drain(Worker("w"))
    assert Run.objects.filter(parent_id=run).count() == 2
    assert StepRun.objects.get(run_id=run, step="go").pass_no == 2
    check_fold(run)


def test_nobody_outside_can_answer_for_a_child(database: str) -> None:
    make_flow(SLOW)
    run = begin(parent_of("call: {flow: child}"))
    drain(Worker("w"))
    loaded = store.load(run)
    assert loaded is not None
    token = waits.token_of(loaded.plan, run, "go", -1, 1)
    assert actions.deliver(token=token, payload={"status": "succeeded"}, actor=SYSTEM).outcome == "unknown"
    assert not RunEvent.objects.filter(run_id=run, type="step.answered").exists()


def test_a_child_may_only_be_of_the_same_folder_or_below(database: str) -> None:
    make_flow(CHILD)
    Flow.objects.filter(slug="child").update(folder="payments")
    parent_of("call: {flow: child, input: {n: 1}}")
    found = {}
    for folder in ("payments", "elsewhere"):
        Flow.objects.filter(slug="parent").update(folder=folder)
        run = begin(Flow.objects.select_related("live").get(slug="parent"))
        drain(Worker("w"))
        found[folder] = Run.objects.get(pk=run)
    assert found["payments"].status == "succeeded"
    assert (found["elsewhere"].error or {})["class"] == "refused"
