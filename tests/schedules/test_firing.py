"""Due times become runs, once each, as the overlap policy says; what is refused is kept with its reason."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from flows.models import Flow
from resources.access import Actor
from resources.errors import TooMany
from resources.models import AuditEntry
from runs import actions, controls, signals
from runs.dead.quarantine import quarantine_input
from runs.models import Run
from runs.schedules import firing, pruning
from runs.schedules.models import Schedule, ScheduledTime
from tests.schedules.conftest import Place, at, key

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
SIX = "cron: '0 6 * * *'"
HOURLY = "cron: '0 * * * *'"


def test_a_due_time_starts_one_run_and_tells_it_when_it_was_due(place: Place) -> None:
    place.release(SIX + ", timezone: Europe/Oslo, input: {day: '${{ trigger.local_time.substring(0, 10) }}'}")
    assert place.keep("2026-03-01T04:59") == at("2026-03-01T05:00")
    assert Run.objects.count() == 0
    assert place.keep("2026-03-01T05:00") == at("2026-03-02T05:00")
    run = Run.objects.get()
    assert run.input == {"day": "2026-03-01"}
    assert run.trigger == {
        "kind": "schedule",
        "name": "schedule",
        "scheduled_at": "2026-03-01T05:00:00Z",
        "local_time": "2026-03-01T06:00:00+01:00",
        "timezone": "Europe/Oslo",
        "cause": "due",
    }
    assert run.starter is None
    place.keep("2026-03-01T05:00")
    assert Run.objects.count() == 1


def test_a_run_belongs_to_the_release_that_is_live_when_it_is_due(place: Place) -> None:
    place.release(SIX)
    place.release(SIX + ", input: {size: 3}")
    place.keep("2026-03-01T06:00")
    run = Run.objects.select_related("release").get()
    assert (run.release.version, run.input) == ("1.2.0", {"size": 3})


def test_jitter_moves_the_start_and_not_the_time_it_is_for(place: Place) -> None:
    place.release(SIX + ", jitter: 30m")
    wake = place.schedule.wake_at
    assert wake is not None and at("2026-03-01T06:00") < wake < at("2026-03-01T06:30")
    place.keep(wake - 0.01)
    assert place.runs() == []
    place.keep(wake)
    assert place.runs() == ["2026-03-01T06:00:00Z"]


def test_catching_up_after_a_downtime_starts_the_window_and_notes_the_rest(place: Place) -> None:
    place.release(HOURLY + ", catchup: 2h, overlap: allow_all")
    place.keep("2026-03-01T05:30")
    assert place.runs() == [f"2026-03-01T0{n}:00:00Z" for n in (4, 5)]
    missed = ScheduledTime.objects.get(state="missed")
    assert (missed.due_at, missed.detail) == (
        at("2026-03-01T03:00"),
        "3 due times passed while nothing ran, longer ago than the catch-up window.",
    )


def test_many_times_of_one_schedule_are_due_and_all_of_them_start(place: Place) -> None:
    place.release("cron: '* * * * *', overlap: allow_all")
    assert place.keep("2026-03-01T00:25") == at("2026-03-01T00:25") + firing.MOMENT
    assert len(place.runs()) == firing.TIMES_A_TURN
    place.keep("2026-03-01T00:25")
    place.keep("2026-03-01T00:25")
    assert len(place.runs()) == 25


@pytest.mark.parametrize(
    ("overlap", "states", "started"),
    [
        ("skip", ["started", "skipped", "skipped"], ["01"]),
        ("buffer_one", ["started", "waiting", "skipped"], ["01"]),
        ("buffer_all", ["started", "waiting", "waiting"], ["01"]),
        ("cancel_other", ["started", "started", "started"], ["01", "02", "03"]),
        ("allow_all", ["started", "started", "started"], ["01", "02", "03"]),
    ],
)
def test_a_due_time_while_an_earlier_run_goes(
    place: Place, overlap: str, states: list[str], started: list[str]
) -> None:
    place.release(f"{HOURLY}, overlap: {overlap}")
    for hour in (1, 2, 3):
        place.keep(f"2026-03-01T0{hour}:00")
    assert [state for _, state in place.times()] == states
    assert place.runs() == [f"2026-03-01T{hour}:00:00Z" for hour in started]
    assert Run.objects.filter(status="cancelled").count() == (2 if overlap == "cancel_other" else 0)


def test_what_waits_starts_one_after_another_as_runs_end(place: Place) -> None:
    place.release(HOURLY + ", overlap: buffer_all")
    for hour in (1, 2, 3):
        place.keep(f"2026-03-01T0{hour}:00")
    assert place.schedule.waiting == 2
    for count in (2, 3, 3):
        place.keep(place.time.now + 1)
        place.end()
        place.keep(place.time.now + 1)
        assert len(place.runs()) == count
    assert place.schedule.waiting == 0
    assert place.runs() == [f"2026-03-01T0{n}:00:00Z" for n in (1, 2, 3)]


def test_a_run_that_takes_long_to_cancel_is_waited_for_and_only_the_latest_time_with_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(controls, "cancel_run", lambda *, actor, run_id, reason: asked.append(reason))
    place.release(HOURLY + ", overlap: cancel_other")
    for hour in (1, 2, 3):
        place.keep(f"2026-03-01T0{hour}:00")
    assert [state for _, state in place.times()] == ["started", "skipped", "waiting"]
    assert asked[0] == "The schedule schedule is due again (cancel_other)."
    place.end("cancelled")
    place.keep("2026-03-01T03:01")
    assert place.runs() == ["2026-03-01T01:00:00Z", "2026-03-01T03:00:00Z"]


def test_terminate_other_ends_the_earlier_run_without_undoing_anything(place: Place) -> None:
    place.release(HOURLY + ", overlap: terminate_other")
    place.keep("2026-03-01T01:00")
    place.keep("2026-03-01T02:00")
    assert place.runs() == ["2026-03-01T01:00:00Z", "2026-03-01T02:00:00Z"]
    ended = Run.objects.get(status="cancelled")
    assert ended.events.filter(type="run.terminate_requested").exists()


def test_a_run_that_is_reopened_counts_as_running_again(place: Place) -> None:
    place.release(HOURLY)
    place.keep("2026-03-01T01:00")
    run = Run.objects.get()
    place.end("failed")
    place.keep("2026-03-01T01:30")
    Schedule.objects.update(due_at=at("2026-03-01T03:00"), wake_at=at("2026-03-01T03:00"))
    ScheduledTime.objects.update(open=False)  # as the next due time would note
    Run.objects.update(status="queued", ended_at=None)
    signals.run_reopened.send(sender=Run, run_id=run.pk, flow_id=run.flow_id, trigger=run.trigger)
    place.keep("2026-03-01T03:00")
    assert place.times()[-1] == (key("2026-03-01T03:00"), "skipped")


def test_another_schedule_of_the_flow_and_runs_by_hand_do_not_count_as_running(place: Place) -> None:
    flow = place.release(HOURLY, "name: other, cron: '0 * * * *'")
    actions.start_run(actor=place.actor, flow=flow, input={})
    place.keep("2026-03-01T01:00")
    assert len(place.runs_of("schedule")) == len(place.runs_of("other")) == 1


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("9 is less than", "size: 12"),
        ("The input cannot be made", 'day: \'${{ trigger.cause == "due" ? trigger.nothing : "x" }}\''),
    ],
)
def test_a_start_that_is_refused_is_kept_and_the_next_time_comes(
    place: Place, monkeypatch: pytest.MonkeyPatch, said: str, given: str
) -> None:
    monkeypatch.setattr("flows.definition.lint_schedules.check", lambda document: None)  # as if lint had let it pass
    place.release(f"{HOURLY}, input: {{{given}}}")
    place.keep("2026-03-01T01:00")
    row = ScheduledTime.objects.get()
    assert (row.state, row.run_id, Run.objects.count()) == ("refused", "", 0)
    assert said in row.detail or "The input breaks" in row.detail
    assert place.schedule.due_at == at("2026-03-01T02:00")
    assert place.schedule.failures == 1


def test_an_input_in_quarantine_is_refused_with_its_reason(place: Place) -> None:
    flow = place.release(HOURLY)
    run = actions.start_run(actor=place.actor, flow=flow, input={}).run
    quarantine_input(actor=Actor.system("test"), run_id=run.pk, reason="It eats the disk.")
    place.keep("2026-03-01T01:00")
    row = ScheduledTime.objects.get()
    assert (row.state, row.run_id, Run.objects.count()) == ("refused", "", 1)
    assert "It eats the disk." in row.detail and place.schedule.due_at == at("2026-03-01T02:00")


def test_what_the_flows_own_concurrency_skips_is_skipped_and_no_run_of_the_schedule(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = place.release(HOURLY)
    other = actions.start_run(actor=place.actor, flow=flow, input={}).run
    skipped = actions.Started(other, created=False, skipped=True)
    monkeypatch.setattr(actions, "start_run", lambda **given: skipped)
    place.keep("2026-03-01T01:00")
    row = ScheduledTime.objects.get()
    assert (row.state, row.run_id, row.open, place.schedule.failures) == ("skipped", "", False, 0)
    assert other.pk in row.detail


def test_a_full_queue_refuses_a_start_and_stops_no_other_schedule(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = actions.start_run

    def full(**given: Any) -> Any:
        if given["source"] == "schedule:schedule":
            raise TooMany("1000 runs wait already.", hint="Try again in 30 s.")
        return real(**given)

    monkeypatch.setattr(actions, "start_run", full)
    place.release(HOURLY, "name: other, cron: '0 * * * *'")
    place.keep("2026-03-01T01:00")
    assert ScheduledTime.objects.get(state="refused").detail == "1000 runs wait already. Try again in 30 s."
    assert len(place.runs_of("other")) == 1


def test_a_schedule_that_breaks_says_so_is_tried_again_and_stops_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.release(HOURLY, "name: other, cron: '0 * * * *'")
    Schedule.objects.filter(name="schedule").update(timezone="Gone/Zone")
    place.keep("2026-03-01T01:00")
    assert "no time zone 'Gone/Zone'" in place.schedule.problem
    assert place.schedule.wake_at == at("2026-03-01T01:01")
    assert len(place.runs_of("other")) == 1
    Schedule.objects.filter(name="schedule").update(timezone="UTC")
    place.keep("2026-03-01T01:01")
    assert place.schedule.problem == ""
    assert place.runs_of("schedule") == ["2026-03-01T01:00:00Z"]


def test_a_lost_database_is_the_keepers_to_handle(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(**given: Any) -> None:
        raise OperationalError("gone")

    place.release(HOURLY)
    monkeypatch.setattr(actions, "start_run", lost)
    with pytest.raises(OperationalError):
        place.keep("2026-03-01T01:00")
    monkeypatch.undo()
    assert place.schedule.due_at == at("2026-03-01T01:00")
    assert place.schedule.problem == ""


def test_a_process_that_read_before_another_fired_does_nothing(place: Place) -> None:
    place.release(HOURLY)
    stale = Schedule.objects.select_related("flow__live").get()
    place.keep("2026-03-01T01:00")
    firing.fire(stale, at("2026-03-01T01:00"))
    assert len(place.runs()) == 1


def test_a_process_that_read_before_a_release_went_live_does_not_undo_it(place: Place) -> None:
    place.release(HOURLY)
    stale = Schedule.objects.select_related("flow__live").get()
    place.time.now = at("2026-03-01T01:00")
    place.release("cron: '30 18 * * *'")
    assert firing.fire(stale, place.time.now) is True  # to be looked at again
    assert (place.schedule.due_at, place.runs()) == (at("2026-03-01T18:30"), [])


def test_a_due_time_that_was_decided_does_not_start_again_when_the_next_time_is_set_back(place: Place) -> None:
    place.release(HOURLY)
    place.keep("2026-03-01T01:00")
    Schedule.objects.update(due_at=at("2026-03-01T01:00"), wake_at=at("2026-03-01T01:00"))
    place.keep("2026-03-01T01:10")
    assert place.times() == [(key("2026-03-01T01:00"), "started")]
    assert (place.runs(), place.schedule.problem) == (["2026-03-01T01:00:00Z"], "")
    assert place.schedule.due_at == at("2026-03-01T02:00")


def test_a_failure_that_is_seen_only_when_the_next_time_is_due_pauses_before_it(place: Place) -> None:
    place.release(f"{HOURLY}, pause_on_failure: true")
    place.keep("2026-03-01T01:00")
    place.end("failed")
    place.keep("2026-03-01T02:00")
    found = place.schedule
    assert (place.runs(), found.wake_at, found.problem) == (["2026-03-01T01:00:00Z"], None, "")
    assert found.paused_by == "schedule"


@pytest.mark.parametrize("allowed", ["true", "2"])
def test_failures_in_a_row_pause_it_with_a_note(place: Place, allowed: str) -> None:
    place.release(f"{HOURLY}, pause_on_failure: {allowed}")
    needed = 1 if allowed == "true" else 2
    for hour in range(1, needed + 1):
        assert place.schedule.paused_at is None
        place.keep(f"2026-03-01T0{hour}:00")
        place.end("failed")
    place.keep(place.time.now + 1)
    found = place.schedule
    assert (found.paused_by, found.wake_at) == ("schedule", None)
    assert "failed; the last one: run " in found.paused_note
    assert AuditEntry.objects.filter(action="schedule.paused", actor="schedule").count() == 1
    place.keep("2026-03-01T09:00")
    assert len(place.runs()) == needed


def test_a_success_in_between_forgets_failures_and_a_cancel_counts_as_neither(place: Place) -> None:
    place.release(f"{HOURLY}, pause_on_failure: 2")
    for hour, status in enumerate(("failed", "succeeded", "failed", "cancelled"), start=1):
        place.keep(f"2026-03-01T0{hour}:00")
        place.end(status)
    place.keep(place.time.now + 1)
    assert (place.schedule.failures, place.schedule.paused_at) == (1, None)
    place.keep("2026-03-01T05:00")
    place.end("timed_out")
    place.keep(place.time.now + 1)
    assert place.schedule.paused_at is not None


# -- releases ----------------------------------------------------------------------------------------------------
def test_a_release_that_changes_the_times_begins_from_now(place: Place) -> None:
    place.release(SIX)
    place.time.now = at("2026-03-03T12:00")
    place.release("cron: '0 18 * * *'")
    assert place.schedule.due_at == at("2026-03-03T18:00")


def test_a_release_that_keeps_the_times_leaves_out_none(place: Place) -> None:
    place.release(SIX)
    place.time.now = at("2026-03-01T06:30")  # due, and nobody came by yet
    place.release(SIX + ", input: {size: 2}, overlap: buffer_all, note: Numbers")
    found = place.schedule
    assert (found.due_at, found.overlap, found.purpose) == (at("2026-03-01T06:00"), "buffer_all", "Numbers")


def test_a_schedule_that_is_taken_out_rests_and_begins_anew_when_it_comes_back(place: Place) -> None:
    place.release(HOURLY + ", overlap: buffer_all")
    place.keep("2026-03-01T01:00")
    place.keep("2026-03-01T02:00")
    place.release("name: other, cron: '0 0 1 1 *'")
    assert place.schedule.retired_at is not None
    assert place.times()[-1] == (key("2026-03-01T02:00"), "skipped")
    place.end()
    place.keep("2026-03-01T05:00")
    assert len(place.runs()) == 1
    place.release(HOURLY)
    assert place.schedule.due_at == at("2026-03-01T06:00")


def test_a_paused_schedule_stays_paused_through_a_release(place: Place) -> None:
    place.release(SIX)
    Schedule.objects.update(paused_at=1.0, wake_at=None)
    place.release("cron: '0 7 * * *'")
    assert (place.schedule.paused_at, place.schedule.wake_at) == (1.0, None)


def test_a_release_without_schedules_has_none(place: Place) -> None:
    place.release()
    assert Schedule.objects.count() == 0
    assert place.keep("2026-03-01T05:00") is None


def test_old_times_go_and_what_waits_or_runs_stays(place: Place) -> None:
    place.release(HOURLY + ", overlap: buffer_one")
    for hour in (1, 2, 3):
        place.keep(f"2026-03-01T0{hour}:00")
    later = at("2026-03-01T03:00") + pruning.KEPT + 1
    duty = pruning.Pruning()
    assert duty.turn(later) == later + pruning.EVERY
    assert [state for _, state in place.times()] == ["started", "waiting"]
    place.end()
    assert duty.turn(later + 60) == later + pruning.EVERY
    assert ScheduledTime.objects.count() == 2
    assert Flow.objects.count() == 1
