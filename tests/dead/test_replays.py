"""Dead letters that are replayed: which, how often, how fast, and what stops it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError

from resources.access import Actor
from resources.errors import BadInput, Conflict, NotFound
from resources.models import AuditEntry, Grant
from runs import clock, controls, copies
from runs.dead import duty, replays
from runs.dead.letters import Filter, dead_letters
from runs.keeper import Keeper
from runs.models import ReplayBatch, ReplayItem, Run, RunEvent
from runs.worker import Worker
from tests.dead.story import ON_SQLITE, breaking, dead, operator
from tests.engine.cluster import SYSTEM, check_fold
from tests.engine.test_store_queue import drain, in_thread


def begin(actor: Actor = SYSTEM, mode: str = "retry", rate: int = 0, **asked: Any) -> ReplayBatch:
    return replays.start_replay(actor=actor, asked=Filter(**asked), mode=mode, reason="mended", rate=rate)


def work_off(batch: ReplayBatch) -> ReplayBatch:
    while duty.step(batch.pk, clock.now()):
        pass
    batch.refresh_from_db()
    return batch


def outcomes(batch: ReplayBatch) -> list[tuple[str, str, str]]:
    return list(ReplayItem.objects.filter(batch=batch).order_by("pk").values_list("run_id", "status", "code"))


def test_all_that_match_are_retried_in_place(database: str) -> None:
    runs, _ = dead(breaking(), 3), dead(breaking("other"), 1)
    assert replays.count_replay(actor=SYSTEM, asked=Filter(flow="breaks")) == 3
    batch = begin(flow="breaks")
    assert (batch.total, batch.status, batch.done) == (3, "running", 0)
    assert Run.objects.filter(status="queued").count() == 0  # a keeper does it
    work_off(batch)
    assert (batch.status, batch.done, batch.failed, batch.next_at) == ("done", 3, 0, None)
    assert [o[0] for o in outcomes(batch)] == runs  # the oldest first
    assert set(Run.objects.filter(pk__in=runs).values_list("status", flat=True)) == {"queued"}
    reasons = RunEvent.objects.filter(run__in=runs, type="run.retry_requested").values_list("data", flat=True)
    assert {d["reason"] for d in reasons} == {f"mended (replay {batch.pk} of dead letters)"}
    drain(Worker("w"))
    for run in runs:
        check_fold(run)
    started, *_, done = AuditEntry.objects.filter(action__startswith="dead_letters.").order_by("pk")
    assert started.data["total"] == 3 and (done.data["done"], done.data["failed"]) == (3, 0)


def test_a_replay_as_new_runs_takes_the_old_ones_off_the_list(database: str) -> None:
    (old,) = dead(breaking())
    batch = work_off(begin(mode="replay"))
    item = ReplayItem.objects.get(batch=batch)
    new = Run.objects.get(pk=item.new_run)
    assert new.pk != old and new.input == Run.objects.get(pk=old).input and new.trigger["of"] == old
    assert not dead_letters(SYSTEM, Filter()).exists()
    assert new.pk in RunEvent.objects.get(run=old, type="run.dismissed").data["reason"]


@ON_SQLITE
def test_what_gives_up_later_is_not_part_of_it(database: str) -> None:
    flow = breaking()
    dead(flow, 1)
    batch = begin()
    dead(flow, 2)
    assert work_off(batch).done == 1


def test_a_run_in_two_replays_is_replayed_once(database: str) -> None:
    dead(breaking(), 2)
    first, second = begin(mode="replay"), begin(mode="replay")
    work_off(first), work_off(second)
    assert (first.done, second.done, second.failed) == (2, 0, 2)
    assert {o[2] for o in outcomes(second)} == {"not_dead"}
    assert Run.objects.count() == 4


def test_many_keepers_replay_each_run_once(database: str) -> None:
    runs = dead(breaking(), 8)
    batch, barrier = begin(mode="replay"), threading.Barrier(3)

    @in_thread
    def keep(_: int) -> None:
        barrier.wait()
        for _turn in range(200):
            duty.step(batch.pk, clock.now())
            if ReplayBatch.objects.get(pk=batch.pk).status == "done":
                return

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(keep, range(3)))
    work_off(batch)
    assert (batch.status, batch.done, batch.failed) == ("done", 8, 0)
    assert sorted(r.trigger["of"] for r in Run.objects.exclude(pk__in=runs)) == sorted(runs)


def test_a_keeper_that_dies_in_the_middle_of_a_run_has_done_none_of_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything of one run is one transaction: whatever was written before the death goes with it."""
    (old,) = dead(breaking())
    batch, real = begin(mode="replay"), duty._count

    def die(*_: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(duty, "_count", die)
    with pytest.raises(SystemExit):
        duty.step(batch.pk, clock.now())
    assert Run.objects.count() == 1 and outcomes(batch) == [(old, "pending", "")]
    monkeypatch.setattr(duty, "_count", real)
    assert work_off(batch).done == 1 and Run.objects.count() == 2


def test_a_database_that_is_away_fails_no_run(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dead(breaking())
    batch = begin()

    def away(**_: Any) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(controls, "retry_run", away)
        with pytest.raises(OperationalError):
            duty.step(batch.pk, clock.now())
    assert work_off(batch).done == 1


@ON_SQLITE
def test_a_run_that_breaks_the_keeper_stops_no_other(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = dead(breaking(), 2)
    real, batch = copies.replay_run, begin(mode="replay")

    def broken(*, run_id: str, **more: Any) -> Any:
        if run_id == first:
            raise RuntimeError("a bug")
        return real(run_id=run_id, **more)

    monkeypatch.setattr(copies, "replay_run", broken)
    work_off(batch)
    assert outcomes(batch) == [(first, "failed", "internal"), (second, "done", "")]


@ON_SQLITE
def test_the_rate_spreads_the_runs_over_time_without_a_burst(database: str) -> None:
    dead(breaking(), 4)
    batch = begin(rate=60)
    now = clock.now()
    assert duty.step(batch.pk, now) and not duty.step(batch.pk, now + 0.9)
    assert duty.step(batch.pk, now + 1.1)
    late = now + 100  # the keeper was away
    assert duty.step(batch.pk, late) and not duty.step(batch.pk, late) and not duty.step(batch.pk, late + 0.9)
    due = duty.turn(late)
    assert due is not None and late < due <= late + 1
    assert duty.step(batch.pk, late + 1)
    assert work_off(batch).status == "done" and duty.turn(late) is None


def test_an_aborted_replay_leaves_the_rest_as_it_was(database: str) -> None:
    runs = dead(breaking(), 3)
    batch = begin(actor := operator(), rate=1)
    duty.step(batch.pk, clock.now())
    replays.abort_replay(actor=actor, batch_id=batch.pk, reason="enough")
    assert not duty.step(batch.pk, clock.now() + 1000)
    batch.refresh_from_db()
    assert (batch.status, batch.done, batch.ended_by) == ("aborted", 1, "olga")
    assert set(dead_letters(SYSTEM, Filter()).values_list("pk", flat=True)) == set(runs[1:])
    assert AuditEntry.objects.get(action="dead_letters.replay_aborted").data["done"] == 1
    with pytest.raises(Conflict) as caught:
        replays.abort_replay(actor=actor, batch_id=batch.pk)
    assert caught.value.stable_code == "replay_ended"


@ON_SQLITE
def test_only_what_one_operates_is_replayed_and_only_while_one_does(database: str) -> None:
    dead(breaking("hidden", "secret"))
    dead(breaking(), 2)
    actor = operator()
    batch = begin(actor)
    assert batch.total == 2
    duty.step(batch.pk, clock.now())
    Grant.objects.all().delete()
    work_off(batch)
    assert (batch.done, batch.failed) == (1, 1) and outcomes(batch)[1][2] == "run_not_found"  # who may not see it


@ON_SQLITE
def test_a_token_that_may_only_look_replays_nothing(database: str) -> None:
    dead(breaking())
    user = operator().user
    with pytest.raises(Conflict) as caught:
        begin(Actor("token", "olga", user, scopes=("viewer",)))
    assert caught.value.stable_code == "nothing_to_replay"


@ON_SQLITE
def test_others_do_not_see_a_replay_but_operators_of_everything_do(database: str) -> None:
    dead(breaking())
    batch = begin(operator())
    with pytest.raises(NotFound):
        replays.visible_replay(operator("otto", "elsewhere"), batch.pk)
    assert replays.list_replays(Actor.system("x")) == [batch]
    assert replays.visible_replay(operator("root", ""), batch.pk) == batch


@ON_SQLITE
def test_a_replay_that_makes_no_sense_is_refused(database: str) -> None:
    dead(breaking())
    for wrong in ({"mode": "explode"}, {"rate": -1}, {"rate": replays.MAX_RATE + 1}):
        with pytest.raises(BadInput):
            begin(**wrong)
    assert not ReplayBatch.objects.exists()


@ON_SQLITE
def test_the_keeper_does_it_in_its_turn(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duty, "SLICE", 60.0)  # however slow the machine is
    dead(breaking(), 2)
    begin()
    Keeper({"replays": duty.turn}).turn()
    assert ReplayBatch.objects.get().status == "done"
