"""Families in real runs: an approval that protects a payment, sleep, kv, a fan-out; on both databases."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import F

from approvals.actions import decide_request
from approvals.models import ApprovalRequest
from resources.access import Actor
from resources.models import Connection
from runs import clock, store, waits
from runs.actions import deliver
from runs.models import Run, RunEvent, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, get, make_connections, make_flow
from tests.engine.test_store_queue import drain

PAYMENT = """
flow: payment
defaults: {timeout: 5s, retry: {max_attempts: 3}}
steps:
  - id: ask
    approval: {title: Pay, protects: [pay]}
  - id: pay
    irreversible: true
    http: {connection: plain, method: POST, path: /plain/payments, json: {amount: 7}}
"""


def decide(run: str, verdict: str = "approve") -> None:
    """Somebody decides the run's open request, as shown."""
    request = ApprovalRequest.objects.get(run_id=run, status="open")
    decide_request(
        actor=reviewer(), request_id=request.pk, verdict=verdict, digest=request.digest, comment="Seen, thank you."
    )


def reviewer() -> Actor:
    user, _ = User.objects.get_or_create(username="rita", is_superuser=True)
    return Actor.of_user(user)


def test_an_approved_payment_is_made_once_and_a_rejected_one_never(database: str, world_url: str) -> None:
    make_connections(world_url)
    flow = make_flow(PAYMENT)
    yes, no = begin(flow), begin(flow)
    drain(Worker("w"))
    assert get(f"{world_url}/effects") == []
    decide(yes)
    decide(no, "reject")
    drain(Worker("w"))
    assert [(e["key"], e["applied"]) for e in get(f"{world_url}/effects")] == [(f"{yes}:pay:1", 1)]
    assert (Run.objects.get(pk=yes).status, Run.objects.get(pk=no).status) == ("succeeded", "cancelled")
    for run in (yes, no):
        check_fold(run)


def test_a_connection_that_changed_after_the_approval_is_asked_about_again(database: str, world_url: str) -> None:
    make_connections(world_url)
    run = begin(make_flow(PAYMENT))
    drain(Worker("w"))
    decide(run)
    Connection.objects.filter(name="plain").update(version=F("version") + 1)
    drain(Worker("w"))
    assert get(f"{world_url}/effects") == []
    assert (StepRun.objects.get(step="ask").pass_no, Run.objects.get(pk=run).status) == (2, "waiting")
    decide(run)
    drain(Worker("w"))
    assert [(e["key"], e["applied"]) for e in get(f"{world_url}/effects")] == [(f"{run}:pay:1", 1)]
    assert Run.objects.get(pk=run).status == "succeeded"
    check_fold(run)


def test_a_payment_of_unknown_outcome_is_not_made_again(database: str, world_url: str) -> None:
    """The connection does not honour keys, and the answer is dropped after the effect."""
    make_connections(world_url)
    run = begin(make_flow(PAYMENT.replace("path: /plain/payments", 'path: "/plain/payments?drop_rate=1"')))
    drain(Worker("w"))
    decide(run)
    drain(Worker("w"))
    [effect] = get(f"{world_url}/effects")
    assert effect["requests"] == 1 and StepRun.objects.get(step="pay").status == "unknown"
    assert Run.objects.get(pk=run).error["class"] == "unknown_outcome"


def test_only_a_person_answers_an_approval(database: str, world_url: str) -> None:
    make_connections(world_url)
    run = begin(make_flow(PAYMENT))
    drain(Worker("w"))
    loaded = store.load(run)
    assert loaded is not None
    token = waits.token_of(loaded.plan, run, "ask", -1, 1)
    assert deliver(token=token, payload={"decision": "approved"}, actor=SYSTEM).outcome == "unknown"


MIXED = """
flow: mixed
defaults: {timeout: 5s, retry: {max_attempts: 3}}
steps:
  - id: nap
    sleep: 1h
  - id: count
    for_each: {items: [1, 2, 3], max_parallel: 2}
    kv: {increment: {key: seen}}
  - id: sum
    function: {code: "len(ns)", input: {ns: "${{ steps.count.output }}"}}
"""


def test_sleep_kv_and_a_fan_out_come_together(database: str) -> None:
    run = begin(make_flow(MIXED))
    drain(Worker("w"))
    timer = Work.objects.get()
    assert (timer.kind, Run.objects.get(pk=run).status) == ("timer", "waiting")
    assert timer.wake_at is not None and 3500 < timer.wake_at - clock.now() <= 3600
    Work.objects.update(wake_at=clock.now() - 1)
    drain(Worker("a"), Worker("b"))
    assert Run.objects.get(pk=run).status == "succeeded", Run.objects.get(pk=run).error
    assert RunEvent.objects.filter(type="step.joined").count() == 1
    values = [entry["value"] for entry in StepRun.objects.get(step="count", item=-1).output]
    assert sorted(values) == [1, 2, 3] and StepRun.objects.get(step="sum").output == 3
    check_fold(run)
