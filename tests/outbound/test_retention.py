"""Retention: whole ended runs, and never before everybody was told; what makes a repeat harmless outlives them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.management import call_command

from approvals.models import ApprovalRequest, Decision
from resources.access import Actor
from resources.errors import Conflict
from resources.models import AuditEntry, KvEntry, KvWrite
from runs import retention
from runs.actions import deliver, start_run
from runs.models import Delivery, GoneRun, Run, RunEvent, StartKey, StepRun, Subscription, WaitToken, Work
from runs.outbound.duty import Outbox
from runs.tokens import make
from tests.outbound.conftest import make_flow, make_run, tell, turn
from tests.outbound.receiver import Endpoint, status

DAY = retention.DAY
SYSTEM = Actor.system("test")


def everything(days: float, now: float) -> None:
    while retention.delete_runs(ended_before=now - days * DAY, now=now):
        pass


def test_old_ended_runs_go_whole_and_the_others_stay(database: str) -> None:
    now = time.time()
    flow = make_flow()
    old = [make_run(flow, "run.created", "run.succeeded", ended_at=now - 40 * DAY) for _ in range(retention.BATCH + 3)]
    StepRun.objects.create(run=old[0], step="build", status="succeeded", version=1)
    asked = ApprovalRequest.objects.create(run=old[0], title="t", digest="d", token="t", created_at=now)
    person = make_person()
    Decision.objects.create(request=asked, person=person, verdict="approve", digest="d", at=now)
    recent = make_run(flow, "run.created", ended_at=now - 5 * DAY)
    alive = make_run(flow, "run.created")
    Run.objects.filter(pk=alive.pk).update(created_at=now - 90 * DAY)
    everything(30, now)
    assert set(Run.objects.values_list("pk", flat=True)) == {recent.pk, alive.pk}
    assert set(RunEvent.objects.values_list("run_id", flat=True)) == {recent.pk, alive.pk}
    assert not StepRun.objects.exists()
    assert not ApprovalRequest.objects.exists()
    assert not Work.objects.exists()
    listed = [pk for entry in AuditEntry.objects.filter(action="runs.deleted") for pk in entry.data["runs"]]
    assert sorted(listed) == sorted(run.pk for run in old)


def make_person() -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user("paula")


def test_a_run_stays_until_every_subscription_was_told(
    database: str, receiver: Endpoint, subscribe: Any, outbox: Outbox
) -> None:
    now = time.time()
    receiver.answers["/"] = status(500)
    make_run(make_flow(), "run.failed", ended_at=now - 40 * DAY)
    subscribe()
    everything(30, now)
    assert Run.objects.count() == 1  # its cursor has not passed
    turn(outbox, lambda: Delivery.objects.filter(last_status=500).exists())
    everything(30, now)
    assert Run.objects.count() == 1  # it is still to be delivered
    receiver.answers["/"] = status(200)
    Delivery.objects.update(wake_at=now)
    turn(outbox)
    everything(30, now)
    assert not Run.objects.exists()
    assert not Delivery.objects.exists()


def test_a_paused_subscription_holds_runs_back(database: str, subscribe: Any) -> None:
    now = time.time()
    subscribe()
    Subscription.objects.update(enabled=False)
    make_run(make_flow(), "run.failed", ended_at=now - 40 * DAY)
    everything(30, now)
    assert Run.objects.count() == 1


def test_start_keys_tokens_and_write_keys_outlive_the_run_by_thirty_days(database: str) -> None:
    now = time.time()
    flow = make_flow()
    run = start_run(actor=SYSTEM, flow=flow, input={}, idempotency_key="once").run
    Run.objects.filter(pk=run.pk).update(ended_at=now - 40 * DAY, created_at=now - 41 * DAY, status="succeeded")
    answered, silent = make(run.pk, 0, -1, 1), make(run.pk, 0, -1, 2)
    shared = {"run_id": run.pk, "step": "build", "kind": "callback", "status": "closed"}
    WaitToken.objects.create(token=answered, pass_no=1, answered_at=now, response={"status": "accepted"}, **shared)
    WaitToken.objects.create(token=silent, pass_no=2, **shared)
    KvWrite.objects.create(idempotency_key=f"{run.pk}:build:1", result=1)
    KvWrite.objects.create(idempotency_key="another:build:1", result=1)
    KvEntry.objects.create(namespace="shared", key="k", value=1)
    everything(30, now)
    with pytest.raises(Conflict) as refused:
        start_run(actor=SYSTEM, flow=flow, input={}, idempotency_key="once")
    assert refused.value.stable_code == "run_expired"
    assert deliver(token=silent, payload=1, actor=SYSTEM).outcome == "late"
    repeated = deliver(token=answered, payload=1, actor=SYSTEM)
    assert (repeated.outcome, repeated.response) == ("duplicate", {"status": "accepted"})
    assert KvWrite.objects.count() == 2
    assert retention.forget_gone(now + 29 * DAY) == 0
    assert retention.forget_gone(now + 31 * DAY) == 1
    assert not StartKey.objects.exists()
    assert not WaitToken.objects.exists()
    assert not GoneRun.objects.exists()
    assert KvWrite.objects.values_list("idempotency_key", flat=True).get() == "another:build:1"
    assert KvEntry.objects.exists()
    assert start_run(actor=SYSTEM, flow=flow, input={}, idempotency_key="once").created


def test_by_default_runs_are_kept_for_ever(database: str, settings: Any) -> None:
    now = time.time()
    make_run(make_flow(), "run.failed", ended_at=now - 4000 * DAY)
    assert retention.run(now) == now + retention.PAUSE
    assert Run.objects.count() == 1
    settings.RETENTION_DAYS = 30.0
    retention.run(now)
    assert not Run.objects.exists()


def test_delivered_events_are_listed_for_a_week(database: str, receiver: Endpoint, subscribe: Any) -> None:
    now = time.time()
    subscribe()
    run = make_run(make_flow())
    subscription = Subscription.objects.get()
    for days, state in ((6, "delivered"), (8, "delivered"), (8, "dead"), (8, "pending")):
        event = tell(run, "run.started")
        made = {"type": event.type, "status": state, "since": now, "created_at": now}
        Delivery.objects.create(subscription=subscription, event=event, ended_at=now - days * DAY, **made)
    retention.delete_delivered(now)
    assert sorted(Delivery.objects.values_list("status", flat=True)) == ["dead", "delivered", "pending"]


def test_the_command_says_what_it_would_delete(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(make_flow(), "run.failed", ended_at=time.time() - 40 * DAY)
    call_command("delete_old_runs", "--days", "30", "--dry-run")
    assert "1 run" in capsys.readouterr().out
    assert Run.objects.count() == 1
    call_command("delete_old_runs", "--days", "30")
    assert "1 run" in capsys.readouterr().out
    assert not Run.objects.exists()
