"""Undoing with real workers, on both databases."""

from __future__ import annotations

import pytest

from flows.models import Flow
from resources.errors import BadInput, Conflict
from runs import actions, bulk, controls, copies
from runs.models import LimitKey, Run, RunEvent, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, make_flow
from tests.engine.test_store_queue import drain
from tests.engine.test_store_waits import check_history

pytestmark = pytest.mark.also_sealed

BOOK = """
flow: trip
compensate: [cancel, failure]
steps:
  - id: hotel
    function: {code: '{"id": 7}'}
    timeout: 5s
    compensate: {function: {code: "id + n", input: {id: "${{ steps.hotel.output.id }}", n: 1}}, timeout: 5s}
  - id: seats
    for_each: {items: [3, 4]}
    function: {code: "at * 10", input: {at: "${{ item }}"}}
    timeout: 5s
    compensate:
      function: {code: "[seat, was]", input: {seat: "${{ item }}", was: "${{ steps.seats.output }}"}}
      timeout: 5s
  - id: paid
    wait: {callback: {timeout: 1h}}
"""


def undone(run: str) -> dict[str, object]:
    rows = StepRun.objects.filter(run=run, step__endswith="~", status="succeeded")
    return {f"{r.step}{r.item}": r.output for r in rows}


def test_a_cancelled_run_undoes_each_step_with_what_it_came_to(database: str) -> None:
    run = begin(make_flow(BOOK))
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "waiting"
    assert actions.cancel_run(actor=SYSTEM, run_id=run, reason="rain").status == "compensating"
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "cancelled"
    assert undone(run) == {"hotel~-1": 8, "seats~0": [3, 30], "seats~1": [4, 40]}
    assert not Work.objects.exists()
    check_history(run)


def test_a_failure_undoes_where_the_flow_says_so(database: str) -> None:
    run = begin(
        make_flow(BOOK.replace("    wait: {callback: {timeout: 1h}}", "    timeout: 1s\n    function: {code: 1 / 0}"))
    )
    drain(Worker("w"))
    found = Run.objects.get(pk=run)
    assert (found.status, found.error["step"], len(undone(run))) == ("failed", "paid", 3)
    check_history(run)


DEAD = """
flow: dead
input: {type: object, properties: {ok: {type: boolean}}}
defaults: {timeout: 5s}
steps:
  - id: a
    function: {code: "5"}
  - id: pick
    function: {code: "1 / n", input: {n: "${{ input.ok ? 1 : 0 }}"}}
  - id: z
    function: {code: "a + 1", input: {a: "${{ steps.a.output }}"}}
output: {z: "${{ steps.z.output }}"}
"""


def flow_of(source: str) -> Flow:
    slug = source.split("flow: ")[1].split()[0]
    return Flow.objects.filter(slug=slug).first() or make_flow(source)


def dead(source: str = DEAD) -> str:
    run = begin(flow_of(source), ok=False)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "failed"
    return run


def test_a_retry_reopens_the_run_and_its_attempt_counts_on(database: str) -> None:
    run = dead()
    assert controls.retry_run(actor=SYSTEM, run_id=run, reason="again").status == "queued"
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "failed"
    assert (
        StepRun.objects.get(run=run, step="pick").attempt == 2 and StepRun.objects.get(run=run, step="a").attempt == 1
    )
    check_history(run)


def test_a_completed_step_carries_the_run_to_its_end(database: str) -> None:
    run = dead()
    controls.complete_step(actor=SYSTEM, run_id=run, step="pick", output={"by": "hand"}, reason="done by hand")
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output == {"z": 6}
    check_history(run)
    with pytest.raises(Conflict) as refused:
        controls.retry_run(actor=SYSTEM, run_id=run)
    assert refused.value.stable_code == "nothing_failed"


def test_a_retry_from_a_step_is_a_new_pass(database: str) -> None:
    run = dead()
    controls.retry_run_from(actor=SYSTEM, run_id=run, step="a", reason="all of it")
    drain(Worker("w"))
    passes = dict(StepRun.objects.filter(run=run).values_list("step", "pass_no"))
    assert passes == {"a": 2, "pick": 2, "z": 2}
    check_history(run)


def test_a_replay_is_a_new_run_with_the_same_or_another_input(database: str) -> None:
    run = dead()
    same = copies.replay_run(actor=SYSTEM, run_id=run).run
    other = copies.replay_run(actor=SYSTEM, run_id=run, input={"ok": True}, release="same", reason="mended").run
    drain(Worker("w"))
    assert Run.objects.get(pk=same.pk).status == "failed" and Run.objects.get(pk=other.pk).output == {"z": 6}
    assert Run.objects.get(pk=other.pk).trigger == {"kind": "replay", "name": "manual", "of": run}
    assert Run.objects.get(pk=run).status == "failed"


def test_a_fork_goes_on_from_a_step_with_what_came_before(database: str) -> None:
    run = dead()
    fork = copies.fork_run(actor=SYSTEM, run_id=run, step="pick", input={"ok": True}, reason="with the other input").run
    drain(Worker("w"))
    found = Run.objects.get(pk=fork.pk)
    assert found.output == {"z": 6} and found.trigger["of"] == run
    assert StepRun.objects.get(run=fork.pk, step="a").attempt == 1
    assert not RunEvent.objects.filter(run=fork.pk, type="step.started", step="a").exists()
    check_history(fork.pk)


def test_a_reopened_run_takes_a_place_of_its_key_again(database: str) -> None:
    first = dead(DEAD.replace("input:", "concurrency: {key: one, limit: 1}\ninput:", 1))
    flow = Run.objects.get(pk=first).flow
    flow.refresh_from_db()
    holder = begin(flow, ok=True)
    controls.retry_run(actor=SYSTEM, run_id=first)
    assert LimitKey.objects.get().active == 1 and not Run.objects.get(pk=first).placed
    drain(Worker("w"))
    assert Run.objects.get(pk=holder).status == "succeeded" and Run.objects.get(pk=first).status == "failed"
    assert LimitKey.objects.get().active == 0
    controls.skip_step(actor=SYSTEM, run_id=first, step="pick", reason="not needed")
    drain(Worker("w"))
    assert Run.objects.get(pk=first).output == {"z": 6} and LimitKey.objects.get().active == 0
    check_history(first)


def test_many_runs_are_asked_at_once_and_each_answers_for_itself(database: str) -> None:
    failed = [dead(), dead()]
    open_ = begin(make_flow(BOOK))
    drain(Worker("w"))
    found = bulk.control_runs(actor=SYSTEM, control="retry", ids=[*failed, open_, "0" * 26], reason="all")
    assert [(r.done, r.code) for r in found] == [
        (True, ""),
        (True, ""),
        (False, "run_active"),
        (False, "run_not_found"),
    ]
    assert found[0].status == "queued"
    with pytest.raises(BadInput):
        bulk.control_runs(actor=SYSTEM, control="skip", ids=failed)


def test_terminating_fences_off_what_is_in_flight(database: str) -> None:
    run = begin(make_flow(BOOK))
    drain(Worker("w"))
    assert controls.terminate_run(actor=SYSTEM, run_id=run, reason="now").status == "cancelled"
    control = Run.objects.get(pk=run).control["ending"]
    assert control["terminated"] and {s["step"] for s in control["not_undone"]} == {"hotel", "seats"}
    assert not Work.objects.exists()
    check_history(run)
