"""Undoing with real workers, on both databases."""

from __future__ import annotations

from runs import actions
from runs.models import Run, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, make_flow
from tests.engine.test_store_queue import drain
from tests.engine.test_store_waits import check_history

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
