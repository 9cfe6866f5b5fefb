"""Waits for named events on both databases: early, late, twice, shared, used once, raced."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resources.access import Actor
from resources.errors import BadInput, NotAllowed, TooLarge
from runs import actions, clock
from runs.models import EventName, EventUse, EventWait, NamedEvent, Run, RunEvent, Work
from runs.named import forgetting, matching
from runs.named.delivery import Taken, deliver_event
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow
from tests.engine.test_store_queue import drain, in_thread

PAID = """
flow: {slug}
folder: {folder}
input: {{type: object, properties: {{order: {{type: integer}}}}}}
defaults: {{timeout: 5s}}
steps:
  - id: paid
    wait: {{event: {{name: paid, match: "${{{{ event.body.order == input.order }}}}", timeout: 1h{more}}}}}
output: {{got: "${{{{ steps.paid.output }}}}"}}
"""
TWICE = """
flow: twice
steps:
  - id: one
    needs: []
    wait: {event: {name: paid, timeout: 1h}}
  - id: two
    needs: []
    wait: {event: {name: paid, timeout: 1h}}
output: {got: ["${{ steps.one.output.id }}", "${{ steps.two.output.id }}"]}
"""
EACH = """
flow: each
input: {type: object, properties: {orders: {type: array}}}
steps:
  - id: paid
    for_each: {items: "${{ input.orders }}"}
    wait: {event: {name: paid, match: "${{ event.body == item }}", timeout: 1h}}
output: {got: "${{ steps.paid.output }}"}
"""


def source(slug: str = "paying", folder: str = '""', more: str = "") -> str:
    return PAID.format(slug=slug, folder=folder, more=more)


def deliver(key: str, body: Any = None, name: str = "paid", folder: str = "", actor: Actor = SYSTEM) -> Taken:
    return deliver_event(actor=actor, name=name, key=key, body=body, folder=folder)


def work() -> None:
    drain(Worker("w"))


def got(run: str) -> Any:
    row = Run.objects.get(pk=run)
    return (row.output or {}).get("got") if row.status == "succeeded" else row.status


def types(run: str) -> list[str]:
    return list(RunEvent.objects.filter(run_id=run).order_by("seq").values_list("type", flat=True))


def test_an_event_that_matches_carries_the_run_on_and_another_does_not(database: str) -> None:
    run = begin(make_flow(source()), order=3)
    work()
    deliver("other", {"order": 4})
    deliver("none", "text")
    work()
    assert got(run) == "waiting"
    deliver("mine", {"order": 3})
    work()
    event = NamedEvent.objects.get(key="mine")
    assert got(run) == {"name": "paid", "id": "mine", "body": {"order": 3}, "received_at": event.received_at}
    assert not Work.objects.exists() and not EventWait.objects.exists()
    check_fold(run)


def test_an_event_before_its_wait_is_kept_and_the_oldest_counts(database: str) -> None:
    flow = make_flow(source())
    for key, order in (("a", 4), ("b", 3), ("c", 3)):
        deliver(key, {"order": order})
    run = begin(flow, order=3)
    work()
    assert got(run)["id"] == "b"
    check_fold(run)


def test_an_event_older_than_the_wait_keeps_is_too_old(database: str) -> None:
    deliver("old", {"order": 3})
    NamedEvent.objects.update(received_at=clock.now() - 120)
    short, long = make_flow(source("short", more=", keep: 1m")), make_flow(source("long", more=", keep: 3m"))
    runs = begin(short, order=3), begin(long, order=3)
    work()
    assert got(runs[0]) == "waiting" and got(runs[1])["id"] == "old"


def test_one_event_answers_every_run_that_waits_for_it(database: str) -> None:
    flow = make_flow(source())
    runs = [begin(flow, order=3) for _ in range(3)]
    work()
    deliver("a", {"order": 3})
    work()
    assert [got(run)["id"] for run in runs] == ["a"] * 3


def test_a_run_uses_an_event_once_and_two_events_for_two_steps(database: str) -> None:
    run = begin(make_flow(TWICE))
    work()
    deliver("a")
    work()
    assert Run.objects.get(pk=run).status == "waiting" and EventUse.objects.count() == 1
    deliver("b")
    work()
    assert sorted(got(run)) == ["a", "b"]
    check_fold(run)


def test_each_item_waits_for_its_own(database: str) -> None:
    run = begin(make_flow(EACH), orders=["x", "y"])
    work()
    deliver("1", "y")
    deliver("2", "x")
    work()
    assert [value["id"] for value in got(run)] == ["2", "1"]
    check_fold(run)


def test_a_repeated_id_is_one_event_and_its_first_body_stays(database: str) -> None:
    run = begin(make_flow(source()), order=3)
    work()
    assert deliver("a", {"order": 1}).created
    again = deliver("a", {"order": 3})
    assert (again.created, again.event.body) == (False, {"order": 1})
    work()
    assert got(run) == "waiting"


def test_one_id_from_many_senders_at_once_is_one_event(database: str) -> None:
    barrier = threading.Barrier(4)

    @in_thread
    def send(n: int) -> bool:
        barrier.wait()
        return deliver("a", n).created

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(send, range(4)))
    assert sorted(made) == [False, False, False, True] and NamedEvent.objects.count() == 1


def test_an_event_after_the_time_was_up_answers_nothing(database: str) -> None:
    run = begin(make_flow(source()), order=3)
    work()
    Work.objects.filter(kind="timer", name="wait").update(wake_at=clock.now() - 1)
    work()
    deliver("late", {"order": 3})
    work()
    row = Run.objects.get(pk=run)
    assert (row.status, row.error["class"]) == ("failed", "expired")
    assert not EventUse.objects.exists() and not EventWait.objects.exists() and not Work.objects.exists()
    check_fold(run)


def test_an_event_that_came_in_time_counts_though_the_timer_is_seen_first(database: str) -> None:
    run = begin(make_flow(source()), order=3)
    work()
    deliver("just", {"order": 3})
    Work.objects.filter(name=matching.TIMER).delete()
    Work.objects.filter(kind="timer", name="wait").update(wake_at=clock.now() - 1)
    work()
    assert got(run)["id"] == "just"


def test_folders_an_event_reaches_those_below_and_no_other(database: str) -> None:
    flows = {name: make_flow(source(name.replace("/", "-"), name)) for name in ("shop", "shop/eu", "shopping")}
    for name, flow in flows.items():
        flow.folder = name
        flow.save(update_fields=["folder"])
    runs = {name: begin(flow, order=3) for name, flow in flows.items()}
    work()
    deliver("a", {"order": 3}, folder="shop/eu")
    work()
    assert {name for name, run in runs.items() if got(run) != "waiting"} == {"shop/eu"}
    deliver("a", {"order": 3}, folder="shop")  # another folder's id is another id
    work()
    assert {name for name, run in runs.items() if got(run) != "waiting"} == {"shop", "shop/eu"}


def test_an_event_of_another_folder_that_was_kept_is_none_for_a_wait_that_opens(database: str) -> None:
    flow = make_flow(source("shop", "shop"))
    flow.folder = "shop"
    flow.save(update_fields=["folder"])
    for key, folder in (("below", "shop/eu"), ("beside", "shopping"), ("own", "shop")):
        deliver(key, {"order": 3}, folder=folder)
    run = begin(flow, order=3)
    work()
    assert got(run)["id"] == "own"


def test_a_body_that_breaks_the_schema_is_refused_and_the_wait_goes_on(database: str) -> None:
    schema = "schema: {type: object, required: [sum]}"
    run = begin(make_flow(source(more=f", {schema}")), order=3)
    work()
    deliver("bad", {"order": 3})
    work()
    assert got(run) == "waiting"
    refused = RunEvent.objects.get(run_id=run, type="event.refused")
    assert refused.data["id"] == "bad" and refused.data["problems"][0]["path"] == []
    deliver("good", {"order": 3, "sum": 1})
    work()
    assert got(run)["id"] == "good" and types(run).count("event.refused") == 1
    check_fold(run)


def test_a_paused_run_looks_when_it_is_resumed(database: str) -> None:
    run = begin(make_flow(source()), order=3)
    work()
    actions.pause_run(actor=SYSTEM, run_id=run, reason="wait")
    deliver("a", {"order": 3})
    work()
    assert got(run) == "paused"
    actions.resume_run(actor=SYSTEM, run_id=run, reason="go")
    work()
    assert got(run)["id"] == "a"
    check_fold(run)


def test_a_cancelled_run_waits_no_more(database: str) -> None:
    run = begin(make_flow(source()), order=3)
    work()
    actions.cancel_run(actor=SYSTEM, run_id=run)
    assert not EventWait.objects.exists()
    deliver("a", {"order": 3})
    assert not Work.objects.exists()


def test_whichever_comes_first_opening_or_delivering_the_event_is_used(database: str) -> None:
    flow = make_flow(source())
    for n in range(6):
        run = begin(flow, order=n)
        barrier = threading.Barrier(2)

        @in_thread
        def open_(_: int, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            work()

        @in_thread
        def send(n: int, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            deliver(f"e{n}", {"order": n})

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(open_, n), pool.submit(send, n)]:
                future.result()
        work()
        assert got(run)["id"] == f"e{n}"


def test_only_what_nobody_wants_kept_is_forgotten(database: str) -> None:
    day = forgetting.KEPT
    old, kept = deliver("old").event, deliver("kept", name="kept").event
    deliver("new")
    EventName.objects.filter(name="kept").update(keep=3 * day)
    NamedEvent.objects.filter(pk__in=[old.pk, kept.pk]).update(received_at=clock.now() - day - 1)
    EventUse.objects.create(event_id=old.pk, run_id="r" * 26)
    assert forgetting.forget(clock.now()) == 1
    assert sorted(NamedEvent.objects.values_list("key", flat=True)) == ["kept", "new"]
    assert not EventUse.objects.exists()


def test_who_may_not_operate_the_folder_delivers_nothing(database: str) -> None:
    with pytest.raises(NotAllowed):
        deliver("a", folder="shop", actor=Actor.trigger("x", "shop/eu"))
    assert not NamedEvent.objects.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "bad_event_name"),
        ({"name": "a b"}, "bad_event_name"),
        ({"name": "x" * 101}, "bad_event_name"),
        ({"name": "paid\n"}, "bad_event_name"),
        ({"key": ""}, "bad_event_id"),
        ({"key": "x" * 201}, "bad_event_id"),
        ({"folder": "/x"}, "bad_folder"),
        ({"folder": "x\n"}, "bad_folder"),
        ({"body": "x" * 2_000_000}, "event_too_large"),
    ],
)
def test_what_no_event_can_be_is_refused(database: str, change: dict[str, Any], code: str) -> None:
    with pytest.raises((BadInput, TooLarge)) as refused:
        deliver(**{"key": "a", **change})
    assert refused.value.stable_code == code
    assert not NamedEvent.objects.exists()
