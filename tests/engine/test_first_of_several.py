"""`wait: {first: …}` on both databases: which came first is said, and the others are withdrawn."""

from __future__ import annotations

from typing import Any

import pytest

from runs import actions, clock
from runs.actions import deliver
from runs.models import EventUse, EventWait, Run, WaitToken, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow
from tests.engine.test_named_events import deliver as send
from tests.engine.test_store_queue import drain
from tests.engine.test_store_waits import token_of, types

pytestmark = pytest.mark.also_sealed

FIRST = """
flow: first
input: {type: object}
defaults: {timeout: 5s}
steps:
  - id: before
    function: {code: "u", input: {u: "${{ steps.call.url }}"}}
  - id: call
    wait:
      first:
        called: {callback: {schema: {type: object}}}
        paid: {event: {name: paid, match: "${{ event.body == 'yes' }}"}}
        sent: {event: {name: sent}}
MOMENT
output: {got: "${{ steps.call.output }}", url: "${{ steps.before.output }}"}
"""


def flow(moment: str = "", more: str = "") -> Any:
    return make_flow(FIRST.replace("MOMENT", f"        late: {{until: {moment}}}{more}" if moment else more[1:]))


def waiting(moment: str = "", more: str = "") -> str:
    run = begin(flow(moment, more))
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "waiting"
    return run


def ended(run: str) -> Any:
    drain(Worker("w"))
    row = Run.objects.get(pk=run)
    assert row.ended and not EventWait.objects.exists() and not Work.objects.exists()
    check_fold(run)
    return (row.output or {}).get("got") if row.status == "succeeded" else row.error["class"]


def test_a_callback_that_comes_first_withdraws_the_events(database: str) -> None:
    run = waiting()
    assert deliver(token=token_of(run), payload={"a": 1}, actor=SYSTEM).outcome == "accepted"
    send("e", "yes")
    assert ended(run) == {"which": "called", "value": {"a": 1}}
    assert not EventUse.objects.exists() and "callback.received" in types(run)
    assert Run.objects.get(pk=run).output["url"].endswith(token_of(run))


def test_an_event_that_comes_first_makes_the_callback_late(database: str) -> None:
    run = waiting()
    send("no", "no")
    drain(Worker("w"))
    send("e", "yes")
    got = ended(run)
    assert (got["which"], got["value"]["id"]) == ("paid", "e")
    assert deliver(token=token_of(run), payload={}, actor=SYSTEM).outcome == "late"
    assert types(run)[-1] == "callback.late"


def test_of_two_events_the_earlier_counts_and_the_other_is_not_used(database: str) -> None:
    send("second", "yes")
    send("first", name="sent")
    run = begin(flow())
    got = ended(run)
    assert (got["which"], got["value"]["id"], EventUse.objects.count()) == ("paid", "second", 1)


def test_a_callback_before_the_wait_opens_counts(database: str) -> None:
    run = begin(flow())
    assert deliver(token=token_of(run), payload={"a": 1}, actor=SYSTEM).outcome == "early"
    send("e", "yes")
    assert ended(run) == {"which": "called", "value": {"a": 1}}


def test_the_moment_is_one_of_them(database: str) -> None:
    run = waiting(moment=str(clock.now() + 3600))
    Work.objects.filter(kind="timer", name="wait").update(wake_at=clock.now() - 1)
    assert ended(run) == {"which": "late", "value": None}
    assert deliver(token=token_of(run), payload={}, actor=SYSTEM).outcome == "late"


@pytest.mark.parametrize("moment", ["", "4102444800"])
def test_a_timeout_beside_it_fails_the_step(database: str, moment: str) -> None:
    run = waiting(moment, "\n      timeout: 1h")
    Work.objects.filter(kind="timer", name="wait").update(wake_at=clock.now() - 1)
    assert ended(run) == "expired"


def test_a_callback_that_breaks_the_schema_leaves_all_of_them_open(database: str) -> None:
    run = waiting()
    assert deliver(token=token_of(run), payload=5, actor=SYSTEM).outcome == "refused"
    drain(Worker("w"))
    assert EventWait.objects.count() == 2
    send("e", "yes")
    assert ended(run)["which"] == "paid"


def test_an_answer_that_comes_while_an_event_is_saved_is_the_one_that_counts(database: str) -> None:
    """Its caller was told so."""
    run = waiting()
    send("e", "yes")
    WaitToken.objects.filter(run_id=run).update(status="answered", answer={"which": "called", "value": 1})
    assert ended(run) == {"which": "called", "value": 1} and not EventUse.objects.exists()


def test_a_cancelled_run_withdraws_all_of_them(database: str) -> None:
    run = waiting()
    actions.cancel_run(actor=SYSTEM, run_id=run)
    assert not EventWait.objects.exists()
    assert deliver(token=token_of(run), payload={}, actor=SYSTEM).outcome == "late"


def test_what_waits_for_an_event_takes_no_callback(database: str) -> None:
    run = begin(make_flow("flow: e\nsteps:\n  - {id: call, wait: {event: {name: paid, timeout: 1h}}}\n"))
    assert deliver(token=token_of(run), payload={}, actor=SYSTEM).outcome == "unknown"
    drain(Worker("w"))
    assert deliver(token=token_of(run), payload={}, actor=SYSTEM).outcome == "unknown"
