"""Inputs that are refused at start: by a person, by themselves, and until when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from flows.models import Flow, Release
from flows.signals import live_changed
from resources.errors import Conflict, NotAllowed, NotFound
from resources.models import AuditEntry, Grant
from runs import clock, controls
from runs.actions import start_run
from runs.dead import poison
from runs.dead.quarantine import quarantine_input, release_input
from runs.models import FlowGate, InputFailure, Quarantine, Run
from runs.worker import Worker
from tests.dead.story import BREAKS, ON_SQLITE, breaking, dead, operator, start
from tests.engine.cluster import SYSTEM
from tests.engine.test_store_queue import drain, in_thread
from tests.load.test_gates import live


def refused(flow: Flow, **given: Any) -> bool:
    try:
        start(flow, **given)
    except Conflict as error:
        assert error.stable_code == "quarantined"
        return True
    return False


def test_the_same_input_is_refused_with_the_reason_and_where_it_is_released(database: str) -> None:
    flow, other = breaking(), breaking("other")
    (run,) = dead(flow, n=1)
    row = quarantine_input(actor=operator(), run_id=run, reason="it eats the disk")
    with pytest.raises(Conflict) as caught:
        start(flow, n=1)
    error = caught.value
    assert error.stable_code == "quarantined" and "it eats the disk" in error.message
    assert f"/quarantine/{row.pk}" in error.hint and error.details["run"] == run
    assert not refused(flow, n=2) and not refused(other, n=1)
    assert AuditEntry.objects.get(action="input.quarantined").data["run"] == run


def test_a_repeat_of_an_earlier_start_still_gets_its_run(database: str) -> None:
    flow = breaking()
    first = start_run(actor=SYSTEM, flow=flow, input={"n": 1}, idempotency_key="k").run.pk
    drain(Worker("w"))
    quarantine_input(actor=SYSTEM, run_id=first, reason="bad")
    again = start_run(actor=SYSTEM, flow=flow, input={"n": 1}, idempotency_key="k")
    assert (again.run.pk, again.created) == (first, False)
    with pytest.raises(Conflict):
        start_run(actor=SYSTEM, flow=flow, input={"n": 1}, idempotency_key="new")
    assert Run.objects.count() == 1


def test_a_released_input_starts_again_and_can_come_back(database: str) -> None:
    flow = breaking()
    (run,) = dead(flow, n=1)
    row = quarantine_input(actor=SYSTEM, run_id=run, reason="bad")
    with pytest.raises(Conflict) as caught:
        quarantine_input(actor=SYSTEM, run_id=run, reason="bad")
    assert caught.value.stable_code == "already_quarantined"
    release_input(actor=operator(), quarantine_id=row.pk, reason="mended")
    assert not refused(flow, n=1) and FlowGate.objects.get().quarantined == 0
    with pytest.raises(Conflict) as caught:
        release_input(actor=SYSTEM, quarantine_id=row.pk, reason="mended")
    assert caught.value.stable_code == "not_quarantined"
    quarantine_input(actor=SYSTEM, run_id=run, reason="bad again")
    assert refused(flow, n=1) and Quarantine.objects.count() == 2
    assert AuditEntry.objects.get(action="input.released").data["reason"] == "mended"


@ON_SQLITE
def test_only_operators_of_the_folder_put_in_and_release(database: str) -> None:
    (run,) = dead(breaking(), n=1)
    row = quarantine_input(actor=SYSTEM, run_id=run, reason="bad")
    viewer = operator("vera", "elsewhere")
    with pytest.raises(NotFound):
        release_input(actor=viewer, quarantine_id=row.pk, reason="x")
    Grant.objects.create(user=viewer.user, role="viewer", folder="payments")
    viewer = type(viewer).of_user(viewer.user)
    with pytest.raises(NotAllowed):
        release_input(actor=viewer, quarantine_id=row.pk, reason="x")
    with pytest.raises(NotAllowed):
        quarantine_input(actor=viewer, run_id=run, reason="x")


def test_a_flow_without_quarantine_pays_no_look_up(database: str) -> None:
    flow, other = breaking(), breaking("other")
    (run,) = dead(other, n=1)
    quarantine_input(actor=SYSTEM, run_id=run, reason="bad")

    def looks(of: Flow) -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            start(of, n=7)
        return sum("runs_quarantine" in q["sql"] for q in seen.captured_queries)

    assert looks(flow) == 0 and looks(other) == 1


def test_inputs_that_fail_alike_again_and_again_go_in_by_themselves(database: str) -> None:
    flow = breaking()
    dead(flow, 4, n=1)
    dead(flow, 4, n=2)
    poison.turn(clock.now())
    assert not Quarantine.objects.exists() and InputFailure.objects.count() == 8
    (last,) = dead(flow, n=1)
    poison.turn(clock.now())
    poison.turn(clock.now())
    row = Quarantine.objects.get()
    assert (row.actor, row.run_id) == ("keeper", last) and row.reason.startswith("It failed 5 times alike")
    assert refused(flow, n=1) and not refused(flow, n=2)
    assert AuditEntry.objects.get(action="input.quarantined").actor == "keeper"


@ON_SQLITE
def test_a_retry_that_fails_the_same_way_counts(database: str, settings: Any) -> None:
    settings.QUARANTINE_AFTER = 3
    (run,) = dead(breaking(), n=1)
    for _ in range(2):
        poison.turn(clock.now())
        controls.retry_run(actor=SYSTEM, run_id=run)
        drain(Worker("w"))
    assert not Quarantine.objects.exists()
    poison.turn(clock.now())
    assert Quarantine.objects.get().run_id == run


def test_failures_before_a_release_or_a_success_count_no_more(database: str, settings: Any) -> None:
    settings.QUARANTINE_AFTER = 2
    flow = breaking()
    dead(flow, 2, n=1)
    poison.turn(clock.now())
    release_input(actor=SYSTEM, quarantine_id=Quarantine.objects.get().pk, reason="mended")
    dead(flow, n=1)
    poison.turn(clock.now())
    assert not Quarantine.objects.filter(released_at=None).exists()
    well = start(flow, n=1)
    Run.objects.filter(pk=well.pk).update(status="succeeded", ended_at=clock.now())
    dead(flow, n=1)
    poison.turn(clock.now())
    assert not Quarantine.objects.filter(released_at=None).exists()
    dead(flow, n=1)
    poison.turn(clock.now())
    assert Quarantine.objects.filter(released_at=None).count() == 1


def goes_live(flow: Flow, version: str) -> None:
    """A release made now, or the one of this version that is there."""
    flow.live = Release.objects.filter(flow=flow, version=version).first() or live(flow, BREAKS, version)
    flow.save(update_fields=["live"])
    with transaction.atomic():
        live_changed.send(sender=Flow, flow=flow, plan=flow.live.plan, actor=SYSTEM)


def test_what_went_in_by_itself_is_let_go_when_another_release_goes_live(database: str, settings: Any) -> None:
    settings.QUARANTINE_AFTER = 2
    flow = breaking()
    dead(flow, 2, n=1)
    poison.turn(clock.now())
    with pytest.raises(Conflict) as caught:
        start(flow, n=1)
    assert caught.value.details["release"] == "1.0.0" and "other than 1.0.0" in caught.value.hint
    goes_live(flow, "1.1.0")
    row = Quarantine.objects.get()
    assert (row.released_by, row.release_reason) == (SYSTEM.name, "1.1.0 went live.")
    assert AuditEntry.objects.get(action="input.released").data["quarantine"] == row.pk
    assert not refused(flow, n=1) and FlowGate.objects.get().quarantined == 0
    drain(Worker("w"))
    poison.turn(clock.now())
    assert not Quarantine.objects.filter(released_at=None).exists()  # one failure of this release, two of another
    dead(flow, n=1)
    poison.turn(clock.now())
    assert refused(flow, n=1)
    goes_live(flow, "1.0.0")  # back to the one before helps as well
    assert not refused(flow, n=1)


@ON_SQLITE
def test_failures_of_two_releases_are_not_counted_together(database: str, settings: Any) -> None:
    settings.QUARANTINE_AFTER = 2
    flow = breaking()
    dead(flow, n=1)
    goes_live(flow, "1.1.0")
    dead(flow, n=1)
    poison.turn(clock.now())
    assert InputFailure.objects.count() == 2 and not refused(flow, n=1)
    drain(Worker("w"))
    poison.turn(clock.now())
    assert refused(flow, n=1)


@ON_SQLITE
def test_failures_of_a_release_that_is_no_longer_live_put_nothing_in(database: str, settings: Any) -> None:
    settings.QUARANTINE_AFTER = 2
    flow = breaking()
    first, _ = dead(flow, 2, n=1)
    goes_live(flow, "1.1.0")
    poison.turn(clock.now())
    assert InputFailure.objects.count() == 2 and not Quarantine.objects.exists()
    with pytest.raises(Conflict) as caught:
        quarantine_input(actor=operator(), run_id=first, reason="bad", this_release_only=True)
    assert caught.value.stable_code == "not_live"


def test_what_a_person_put_in_outlives_releases_unless_they_said_otherwise(database: str) -> None:
    flow = breaking()
    for_good, for_now = dead(flow, 2)
    quarantine_input(actor=SYSTEM, run_id=for_good, reason="poison")
    quarantine_input(actor=SYSTEM, run_id=for_now, reason="a bug", this_release_only=True)
    assert refused(flow, n=0) and refused(flow, n=1)
    goes_live(flow, "1.1.0")
    assert refused(flow, n=0) and not refused(flow, n=1)
    assert FlowGate.objects.get().quarantined == 1


@ON_SQLITE
def test_old_failures_and_those_of_another_class_are_not_alike(database: str, settings: Any) -> None:
    settings.QUARANTINE_AFTER = 2
    flow = breaking()
    first, second = dead(flow, 2, n=1)
    Run.objects.filter(pk=first).update(error_class="timeout")
    poison.turn(clock.now())
    assert not Quarantine.objects.exists()
    InputFailure.objects.update(ended_at=clock.now() - poison.DAY - 1)
    Run.objects.filter(pk=second).update(dead_at=clock.now() - poison.DAY - 1)
    Run.objects.filter(pk=first).update(dead_at=None)
    dead(flow, n=1)
    poison.turn(clock.now())
    assert not Quarantine.objects.exists() and InputFailure.objects.count() == 1  # the old ones are forgotten


@ON_SQLITE
@pytest.mark.parametrize(("error_class", "goes_in"), [("connect", False), ("circuit_open", False), ("http_5xx", True)])
def test_no_input_is_to_blame_for_what_was_never_sent(
    database: str, settings: Any, error_class: str, goes_in: bool
) -> None:
    settings.QUARANTINE_AFTER = 2
    Run.objects.filter(pk__in=dead(breaking(), 2, n=1)).update(error_class=error_class)
    poison.turn(clock.now())
    assert Quarantine.objects.exists() is goes_in and InputFailure.objects.count() == 2


@ON_SQLITE
def test_nothing_goes_in_by_itself_where_that_is_off(database: str, settings: Any) -> None:
    settings.QUARANTINE_AFTER = 0
    dead(breaking(), 6, n=1)
    poison.turn(clock.now())
    assert not Quarantine.objects.exists() and not InputFailure.objects.exists()


def test_many_keepers_count_each_failure_once(database: str) -> None:
    flow, barrier = breaking(), threading.Barrier(3)
    dead(flow, 4, n=1)
    dead(flow, 5, n=2)

    @in_thread
    def look(_: int) -> None:
        barrier.wait()
        poison.turn(clock.now())

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(look, range(3)))
    assert InputFailure.objects.count() == 9 and Quarantine.objects.count() == 1
    assert FlowGate.objects.get(flow=flow).quarantined == 1
