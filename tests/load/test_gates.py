"""What keeps a run from beginning: places of a key, full lines, paused flows, releases that drain or supersede."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from flows.definition.compiler import compile_source
from flows.models import Flow, Release
from flows.signals import live_changed
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, TooMany
from resources.models import AuditEntry, Grant
from runs import actions, admission, flow_actions, gates, limits, releases
from runs.actions import Parent, Started, start_run
from runs.models import FlowGate, Run, RunEvent, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow
from tests.engine.test_store_queue import drain, in_thread

WAITS = """
flow: waits
input: {type: object, properties: {k: {type: string}}}
CONCURRENCY
steps:
  - id: w
    wait: {callback: {timeout: 1h}}
"""


def waiting_flow(more: str = "", slug: str = "waits") -> Flow:
    return make_flow(WAITS.replace("CONCURRENCY", more).replace("flow: waits", f"flow: {slug}"))


def keyed(how: str, limit: int = 1) -> Flow:
    return waiting_flow(f"concurrency: {{key: '${{{{ input.k }}}}', limit: {limit}, on_conflict: {how}}}")


def start(flow: Flow, **more: Any) -> Started:
    return start_run(actor=SYSTEM, flow=flow, input={"k": more.pop("k", "a")}, **more)


def status(run_id: str) -> str:
    return Run.objects.get(pk=run_id).status


def live(flow: Flow, text: str, version: str) -> Release:
    """The text as the flow's live release, told as `make_live` tells it."""
    plan, problems = compile_source(text)
    assert plan is not None, problems
    made = {"plan_json": plan.to_json(), "checksum": plan.checksum, "language": plan.language}
    release = Release.objects.create(flow=flow, version=version, source=text, revision=1, **made)
    flow.live = release
    flow.save(update_fields=["live"])
    with transaction.atomic():
        live_changed.send(sender=Flow, flow=flow, plan=plan, actor=SYSTEM)
    return release


# -- on_conflict -----------------------------------------------------------------------------------------------------
def test_skip_starts_nothing_and_names_the_run_that_holds_the_place(database: str) -> None:
    flow = keyed("skip")
    first = start(flow)
    second = start(flow, idempotency_key="k")
    assert (second.skipped, second.created, second.run.pk) == (True, False, first.run.pk)
    assert Run.objects.count() == 1 and not start(flow, k="b").skipped
    actions.cancel_run(actor=SYSTEM, run_id=first.run.pk)
    again = start(flow, idempotency_key="k")  # a start that was skipped has not used up its key
    assert (again.created, again.skipped) == (True, False)


def test_fail_refuses_the_start_and_names_the_holder(database: str) -> None:
    flow = keyed("fail", limit=2)
    held = [start(flow).run.pk, start(flow).run.pk]
    with pytest.raises(Conflict) as caught:
        start(flow)
    assert caught.value.stable_code == "key_taken"
    assert caught.value.details == {"key": "a", "limit": 2, "runs": held}
    assert Run.objects.count() == 2


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
def test_an_ended_run_frees_its_key(database: str, ends: str) -> None:
    text = WAITS.replace("CONCURRENCY", "concurrency: {key: x, on_conflict: fail}")
    if ends == "failed":
        text = text.replace(
            "wait: {callback: {timeout: 1h}}", 'function: {code: "1 / 0"}\n    retry: {max_attempts: 1}'
        )
    flow = make_flow(text)
    run = start(flow).run.pk
    if ends == "cancelled":
        actions.cancel_run(actor=SYSTEM, run_id=run)
    drain(Worker("w"))
    assert status(run) == ends and start(flow).created


@pytest.mark.parametrize("held", ["waiting", "paused"])
def test_a_run_that_waits_or_is_paused_holds_its_key(database: str, held: str) -> None:
    flow = keyed("fail")
    run = start(flow).run.pk
    drain(Worker("w"))
    if held == "paused":
        actions.pause_run(actor=SYSTEM, run_id=run)
    assert status(run) == held
    with pytest.raises(Conflict, match="no free place"):
        start(flow)


def test_cancel_running_cancels_the_older_run_and_the_newest_begins(database: str) -> None:
    flow = keyed("cancel_running")
    first = start(flow).run.pk
    drain(Worker("w"))
    second, third = start(flow).run.pk, start(flow).run.pk
    other = start(flow, k="b").run.pk
    drain(Worker("w"))
    assert [status(r) for r in (first, second, third, other)] == ["cancelled", "cancelled", "waiting", "waiting"]
    asked = RunEvent.objects.get(run_id=first, type="run.cancel_requested")
    assert third in asked.data["reason"] or second in asked.data["reason"]
    check_fold(first)


def test_cancel_running_cancels_no_more_than_it_needs(database: str) -> None:
    flow = keyed("cancel_running", limit=3)
    runs = [start(flow).run.pk for _ in range(4)]
    drain(Worker("w"))
    assert [status(r) for r in runs] == ["cancelled", "waiting", "waiting", "waiting"]


# -- children -------------------------------------------------------------------------------------------------------
def test_a_child_that_would_wait_for_its_own_ancestor_is_refused_as_a_deadlock(database: str) -> None:
    flow, between = keyed("queue"), waiting_flow(slug="between")
    top = start(flow).run.pk
    middle = start_run(actor=SYSTEM, flow=between, input={}, parent=Parent(top, "w")).run
    assert (middle.parent_id, middle.parent_step, middle.depth) == (top, "w", 1)
    with pytest.raises(Conflict) as caught:
        start(flow, parent=Parent(middle.pk, "w"))
    assert caught.value.stable_code == "deadlock" and caught.value.details["runs"] == [top]
    assert start(flow, k="b", parent=Parent(middle.pk, "w")).run.depth == 2
    stranger = start(flow).run
    assert not stranger.placed  # no child: it may wait


# -- a full line ----------------------------------------------------------------------------------------------------
def test_a_full_line_refuses_starts_and_says_when_to_come_again(database: str) -> None:
    flow = waiting_flow("max_queued: 3")
    runs = [start(flow).run.pk for _ in range(3)]
    with pytest.raises(TooMany) as caught:
        start(flow)
    assert caught.value.stable_code == "max_queued" and caught.value.details["queued"] == 3
    assert 1 <= caught.value.details["retry_after"] <= gates.MAX_RETRY_AFTER
    drain(Worker("w"))  # what has begun is not in line any more
    assert start(flow).created and {status(r) for r in runs} == {"waiting"}


def test_starts_at_once_never_make_the_line_longer_than_it_may_be(database: str) -> None:
    flow, barrier = waiting_flow("max_queued: 5"), threading.Barrier(8)

    @in_thread
    def attempt(_: int) -> int:
        barrier.wait()
        made = 0
        for _ in range(3):
            try:
                start(flow)
            except TooMany:
                continue
            made += 1
        return made

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 5
    assert Run.objects.count() == 5


@pytest.mark.parametrize(("queued", "age", "seconds"), [(10, 0.0, 1), (10, 50.0, 5), (1, 9000.0, 60), (0, 5.0, 5)])
def test_retry_after_follows_how_fast_the_line_moves(queued: int, age: float, seconds: int) -> None:
    assert gates.retry_after(queued, age) == seconds


# -- a paused flow --------------------------------------------------------------------------------------------------
def test_starts_of_a_paused_flow_wait_and_begin_in_order_when_it_is_resumed(database: str) -> None:
    flow = waiting_flow()
    going = start(flow).run.pk
    drain(Worker("w"))
    flow_actions.pause_flow(actor=SYSTEM, slug="waits", reason="a storm")
    held = [start(flow).run.pk for _ in range(4)]
    drain(Worker("w"))
    assert status(going) == "waiting" and {status(r) for r in held} == {"queued"}
    flow_actions.resume_flow(actor=SYSTEM, slug="waits", reason="it is over")
    drain(Worker("w"))
    assert {status(r) for r in held} == {"waiting"}
    begun = list(RunEvent.objects.filter(type="run.admitted").order_by("pk").values_list("run_id", flat=True))
    assert begun == held
    trail = list(AuditEntry.objects.filter(object_type="flow").order_by("pk").values_list("action", flat=True))
    assert trail == ["flow.paused", "flow.resumed"]


def test_a_paused_flow_with_keys_admits_one_run_a_key_when_it_is_resumed(database: str) -> None:
    flow = keyed("queue")
    flow_actions.pause_flow(actor=SYSTEM, slug="waits", reason="a storm")
    runs = [start(flow, k=key).run.pk for key in "aabb"]
    drain(Worker("w"))
    assert {status(r) for r in runs} == {"queued"}
    flow_actions.resume_flow(actor=SYSTEM, slug="waits")
    drain(Worker("w"))
    assert [status(r) for r in runs] == ["waiting", "queued", "waiting", "queued"]


def test_a_place_that_becomes_free_in_a_paused_flow_stays_free_until_it_is_resumed(database: str) -> None:
    flow = keyed("queue")
    first, second = start(flow).run.pk, start(flow).run.pk
    drain(Worker("w"))
    flow_actions.pause_flow(actor=SYSTEM, slug="waits", reason="a storm")
    actions.cancel_run(actor=SYSTEM, run_id=first)
    drain(Worker("w"))
    assert status(second) == "queued"
    flow_actions.resume_flow(actor=SYSTEM, slug="waits")
    drain(Worker("w"))
    assert status(second) == "waiting"


def test_a_flow_may_refuse_starts_instead_with_the_reason(database: str) -> None:
    flow = waiting_flow()
    flow_actions.pause_flow(actor=SYSTEM, slug="waits", reason="the bank is down", mode="refuse")
    with pytest.raises(Conflict, match="the bank is down") as caught:
        start(flow)
    assert caught.value.stable_code == "flow_paused" and not Run.objects.exists()
    flow_actions.resume_flow(actor=SYSTEM, slug="waits")
    assert start(flow).run.placed
    with pytest.raises(Conflict, match="not paused"):
        flow_actions.resume_flow(actor=SYSTEM, slug="waits")


@pytest.mark.parametrize("reason", ["", " \n "])
def test_a_flow_is_not_paused_without_a_reason(database: str, reason: str) -> None:
    waiting_flow()
    with pytest.raises(BadInput, match="Say why") as caught:
        flow_actions.pause_flow(actor=SYSTEM, slug="waits", reason=reason)
    assert caught.value.stable_code == "bad_reason" and not FlowGate.objects.exists()


def test_only_operators_pause_a_flow_and_set_priorities(database: str) -> None:
    flow = waiting_flow()
    reader = Actor.of_user(get_user_model().objects.create(username="vera"))
    Grant.objects.create(user=reader.user, role="author", folder="")
    with pytest.raises(NotAllowed):
        flow_actions.pause_flow(actor=reader, slug="waits", reason="a storm")
    with pytest.raises(NotAllowed):
        start_run(actor=reader, flow=flow, input={}, priority=7)
    assert not FlowGate.objects.exists() and start(flow, priority=7).run.priority == 7
    with pytest.raises(BadInput):
        start(flow, priority=11)


def test_no_start_is_left_behind_by_a_resume_that_comes_at_the_same_moment(database: str) -> None:
    flow = waiting_flow()
    for _ in range(6):
        flow_actions.pause_flow(actor=SYSTEM, slug="waits", reason="a storm")
        barrier = threading.Barrier(5)

        @in_thread
        def attempt(n: int, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            if n == 0:
                flow_actions.resume_flow(actor=SYSTEM, slug="waits")
            else:
                start(flow)

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(attempt, range(5)))
        drain(Worker("w"))
        assert not Run.objects.filter(status="queued").exists()


# -- new releases ---------------------------------------------------------------------------------------------------
def after(seconds: float) -> float:
    FlowGate.objects.update(released_at=time.time() - seconds)
    return time.time()


def test_a_release_that_drains_begins_when_the_runs_of_older_ones_have_ended(database: str) -> None:
    flow = waiting_flow()
    old = start(flow).run.pk
    drain(Worker("w"))
    live(flow, WAITS.replace("CONCURRENCY", "on_new_release: drain"), "2.0.0")
    new = [start(flow).run.pk for _ in range(2)]
    releases.turn(after(5))
    drain(Worker("w"))
    assert [status(r) for r in (old, *new)] == ["waiting", "queued", "queued"]
    actions.cancel_run(actor=SYSTEM, run_id=old)
    releases.turn(after(5))
    drain(Worker("w"))
    assert [status(r) for r in new] == ["waiting", "waiting"]
    assert FlowGate.objects.get().draining is None and start(flow).run.placed


def test_two_draining_releases_follow_each_other(database: str) -> None:
    text = WAITS.replace("CONCURRENCY", "on_new_release: drain")
    flow = waiting_flow()
    runs = [start(flow).run.pk]
    drain(Worker("w"))
    for version in ("2.0.0", "3.0.0"):
        live(flow, text + f"# {version}\n", version)
        runs.append(start(flow).run.pk)
    for done in range(3):
        releases.turn(after(5))
        drain(Worker("w"))
        assert [status(r) for r in runs[done:]] == ["waiting"] + ["queued"] * (2 - done)
        actions.cancel_run(actor=SYSTEM, run_id=runs[done])


def test_a_release_that_supersedes_cancels_the_runs_of_older_ones(database: str) -> None:
    flow = waiting_flow()
    old = [start(flow).run.pk for _ in range(3)]
    drain(Worker("w"))
    live(flow, WAITS.replace("CONCURRENCY", "on_new_release: supersede"), "2.0.0")
    new = start(flow).run.pk
    releases.turn(after(0))
    drain(Worker("w"))
    assert [status(r) for r in (*old, new)] == ["cancelled"] * 3 + ["waiting"]
    reason = RunEvent.objects.get(run_id=old[0], type="run.cancelled").data["reason"]
    assert "newer release" in reason
    assert FlowGate.objects.get().superseding is not None  # starts that read the old release may still come
    releases.turn(after(5))
    assert FlowGate.objects.get().superseding is None
    assert not Work.objects.filter(run_id__in=old).exists()


def test_superseding_goes_in_batches(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = waiting_flow()
    for _ in range(5):
        begin(flow)
    drain(Worker("w"))
    live(flow, WAITS.replace("CONCURRENCY", "on_new_release: supersede"), "2.0.0")
    monkeypatch.setattr(releases, "BATCH", 2)
    left = []
    for _ in range(4):
        releases.turn(after(5))
        left.append(Run.objects.filter(ended_at__isnull=True).count())
    assert left == [3, 1, 0, 0]


def test_a_long_line_is_admitted_by_several_pieces_of_work(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = waiting_flow()
    monkeypatch.setattr(admission, "MAX_AT_ONCE", 3)
    flow_actions.pause_flow(actor=SYSTEM, slug="waits", reason="a storm")
    runs = [start(flow).run.pk for _ in range(8)]
    flow_actions.resume_flow(actor=SYSTEM, slug="waits")
    drain(Worker("w"))
    assert {status(r) for r in runs} == {"waiting"}
    assert not limits.waiting(flow.pk, "")
