"""What people change: pause, resume, start now, backfill, give up; who may, what is kept, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.models import AuditEntry, Grant
from runs.models import Run
from runs.schedules import actions
from runs.schedules.models import Schedule, ScheduledTime
from tests.schedules.conftest import Place, at, key

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
HOURLY = "cron: '0 * * * *'"
WHERE: dict[str, Any] = {"slug": "nightly", "name": "schedule"}
RANGE: dict[str, Any] = {"start": at("2026-02-01T00:00"), "end": at("2026-02-01T03:30")}
Verb = Callable[..., Any]
VERBS: dict[str, tuple[Verb, dict[str, Any]]] = {
    "pause": (actions.pause_schedule, {"note": "The source is down."}),
    "resume": (actions.resume_schedule, {}),
    "trigger": (actions.trigger_schedule, {"key": "k"}),
    "backfill": (actions.backfill_schedule, RANGE),
    "drop": (actions.drop_waiting, {}),
}


@pytest.mark.parametrize("verb", VERBS)
def test_it_needs_the_operator_of_the_folder(place: Place, person: Callable[..., Any], verb: str) -> None:
    place.release(HOURLY)
    action, more = VERBS[verb]
    with pytest.raises(NotAllowed):
        action(actor=Actor.of_user(person("vera", "viewer", "team")), **WHERE, **more)
    with pytest.raises(NotFound):
        action(actor=Actor.of_user(person("otto", "operator", "elsewhere")), **WHERE, **more)
    assert not AuditEntry.objects.filter(action__startswith="schedule.").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_schedule_that_is_not_in_the_live_release_cannot_be_changed(place: Place, operator: Actor, verb: str) -> None:
    place.release(HOURLY)
    place.release("name: other, cron: '0 6 * * *'")
    action, more = VERBS[verb]
    with pytest.raises(NotFound, match="no schedule"):
        action(actor=operator, **WHERE, **more)


def test_a_paused_schedule_starts_nothing_and_says_why(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    found = actions.pause_schedule(actor=operator, **WHERE, note="The source is down.")
    assert (found.paused_by, found.paused_note, found.wake_at) == ("olga", "The source is down.", None)
    place.keep("2026-03-01T05:00")
    assert place.runs() == []
    entry = AuditEntry.objects.get(action="schedule.paused")
    assert (entry.actor, entry.object_id, entry.data["note"]) == ("olga", "nightly", "The source is down.")
    with pytest.raises(Conflict, match="paused already"):
        actions.pause_schedule(actor=operator, **WHERE)


def test_resumed_it_goes_on_with_the_next_time_and_leaves_out_what_passed(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    actions.pause_schedule(actor=operator, **WHERE)
    place.time.now = at("2026-03-01T04:30")
    actions.resume_schedule(actor=operator, **WHERE)
    place.keep("2026-03-01T04:31")
    assert place.times() == []
    place.keep("2026-03-01T05:00")
    assert place.runs() == ["2026-03-01T05:00:00Z"]
    with pytest.raises(Conflict, match="is not paused"):
        actions.resume_schedule(actor=operator, **WHERE)


def test_resuming_forgets_the_failures_that_paused_it(place: Place, operator: Actor) -> None:
    place.release(HOURLY + ", pause_on_failure: true")
    place.keep("2026-03-01T01:00")
    place.end("failed")
    place.keep("2026-03-01T01:01")
    actions.resume_schedule(actor=operator, **WHERE)
    place.keep("2026-03-01T01:02")
    assert (place.schedule.paused_at, place.schedule.failures) == (None, 0)


# -- start now ---------------------------------------------------------------------------------------------------
def test_started_now_by_a_person_also_while_paused_and_once_per_key(place: Place, operator: Actor) -> None:
    place.release(HOURLY + ", input: {day: '${{ trigger.cause }}'}")
    actions.pause_schedule(actor=operator, **WHERE)
    first = actions.trigger_schedule(actor=operator, **WHERE, key="click")
    again = actions.trigger_schedule(actor=operator, **WHERE, key="click")
    run = Run.objects.get()
    assert first.run_id == again.run_id == run.pk
    assert (run.input, run.starter, run.trigger["scheduled_at"]) == (
        {"day": "manual"}, operator.user, "2026-03-01T00:00:00Z",
    )  # fmt: skip
    assert AuditEntry.objects.filter(action="schedule.triggered").count() == 1


def test_starting_now_while_a_run_goes_is_refused_where_the_policy_skips(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    place.keep("2026-03-01T01:00")
    with pytest.raises(Conflict) as caught:
        actions.trigger_schedule(actor=operator, **WHERE, key="k")
    assert caught.value.stable_code == "overlap"
    assert [state for _, state in place.times()] == ["started"]


def test_started_now_it_waits_where_the_policy_buffers_and_stays_the_persons_run(place: Place, operator: Actor) -> None:
    place.release(HOURLY + ", overlap: buffer_all")
    place.keep("2026-03-01T01:00")
    row = actions.trigger_schedule(actor=operator, **WHERE, key="k")
    assert row.state == "waiting"
    place.end()
    place.keep("2026-03-01T01:01")
    assert Run.objects.get(ended_at=None).starter == operator.user


def test_a_start_that_is_refused_is_told_and_not_kept(
    place: Place, operator: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.definition.lint_schedules.check", lambda document: None)
    place.release(HOURLY + ", input: {size: 12}")
    with pytest.raises(Conflict, match="breaks the flow's input schema") as caught:
        actions.trigger_schedule(actor=operator, **WHERE, key="k")
    assert caught.value.stable_code == "start_refused"
    assert (ScheduledTime.objects.count(), place.schedule.failures) == (0, 0)


# -- backfill ----------------------------------------------------------------------------------------------------
def test_a_backfill_is_previewed_with_what_came_of_each_time_before(place: Place) -> None:
    place.release(HOURLY + ", overlap: buffer_one")
    for hour in (1, 2, 3):
        place.keep(f"2026-03-01T0{hour}:00")
    start, end = at("2026-03-01T00:00"), at("2026-03-01T03:00")
    found = actions.preview_backfill(place.schedule, start, end)
    assert [(past.at, past.state, past.starts) for past in found] == [
        (start, "new", True),
        (start + 3600, "started", False),
        (start + 7200, "waiting", False),
        (start + 10800, "skipped", True),
    ]
    assert ScheduledTime.objects.count() == 3


def test_a_backfill_starts_one_run_after_another_and_the_person_is_the_starter(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    assert actions.backfill_schedule(actor=operator, **WHERE, **RANGE) == 4
    for count in (1, 2, 3, 4, 4):
        place.keep(place.time.now + 1)
        place.keep(place.time.now + 1)
        assert len(place.runs()) == count
        place.end()
    assert place.runs() == [f"2026-02-01T0{n}:00:00Z" for n in range(4)]
    assert {run.starter for run in Run.objects.all()} == {operator.user}
    assert {run.trigger["cause"] for run in Run.objects.all()} == {"backfill"}
    entry = AuditEntry.objects.get(action="schedule.backfilled")
    assert entry.data == {
        "name": "schedule", "from": "2026-02-01T00:00:00Z", "to": "2026-02-01T03:30:00Z", "times": 4,
    }  # fmt: skip


def test_where_runs_may_overlap_a_backfill_starts_five_at_a_time(place: Place, operator: Actor) -> None:
    place.release(HOURLY + ", overlap: allow_all")
    actions.backfill_schedule(actor=operator, **WHERE, start=at("2026-02-01T00:00"), end=at("2026-02-01T11:00"))
    for count in (5, 5, 10):
        if count == 10:
            place.end()
        place.keep(place.time.now + 1)
        assert len(place.runs()) == count


def test_a_due_time_is_not_skipped_for_a_backfill_and_goes_before_the_rest_of_it(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    actions.backfill_schedule(actor=operator, **WHERE, **RANGE)
    place.keep("2026-03-01T00:59")
    place.keep("2026-03-01T01:00")
    assert place.times()[-1] == (key("2026-03-01T01:00"), "waiting")
    place.end()
    place.keep("2026-03-01T01:01")
    assert place.runs() == ["2026-02-01T00:00:00Z", "2026-03-01T01:00:00Z"]


def test_a_backfill_takes_up_skipped_times_and_leaves_those_with_a_run(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    for hour in (1, 2):
        place.keep(f"2026-03-01T0{hour}:00")
    place.end()
    start, end = at("2026-03-01T01:00"), at("2026-03-01T02:00")
    assert actions.backfill_schedule(actor=operator, **WHERE, start=start, end=end) == 1
    place.keep("2026-03-01T02:30")
    place.end()
    assert place.runs() == ["2026-03-01T01:00:00Z", "2026-03-01T02:00:00Z"]
    with pytest.raises(Conflict) as caught:
        actions.backfill_schedule(actor=operator, **WHERE, start=start, end=end)
    assert caught.value.stable_code == "nothing_to_start"


def test_what_waits_rests_while_paused_and_can_be_given_up(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    actions.backfill_schedule(actor=operator, **WHERE, **RANGE)
    place.keep("2026-03-01T00:10")
    actions.pause_schedule(actor=operator, **WHERE)
    place.end()
    place.keep("2026-03-01T00:11")
    assert (len(place.runs()), place.schedule.waiting) == (1, 3)
    assert actions.drop_waiting(actor=operator, **WHERE) == 3
    assert place.schedule.waiting == 0
    assert ScheduledTime.objects.filter(state="skipped", detail="Given up by olga.").count() == 3
    with pytest.raises(Conflict, match="Nothing waits"):
        actions.drop_waiting(actor=operator, **WHERE)


def test_whoever_lost_the_role_meanwhile_starts_nothing(place: Place, operator: Actor) -> None:
    place.release(HOURLY)
    actions.backfill_schedule(actor=operator, **WHERE, start=at("2026-02-01T01:00"), end=at("2026-02-01T01:00"))
    Grant.objects.filter(user=operator.user).delete()
    place.keep("2026-03-01T00:10")
    assert place.runs() == []
    assert "needs the role" in ScheduledTime.objects.get().detail


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        ("2026-02-02T00:00", "2026-02-01T00:00", "bad_range"),
        ("2026-02-01T00:00", "2026-03-01T00:01", "bad_range"),
        ("1969-01-01T00:00", "2026-02-01T00:00", "bad_range"),
        ("2026-01-01T00:00", "2026-02-20T00:00", "too_many_times"),
    ],
)
def test_a_range_that_cannot_be_is_refused(place: Place, operator: Actor, start: str, end: str, code: str) -> None:
    place.release(HOURLY)
    with pytest.raises(BadInput) as caught:
        actions.backfill_schedule(actor=operator, **WHERE, start=at(start), end=at(end))
    assert caught.value.stable_code == code
    assert Schedule.objects.get().waiting == 0
