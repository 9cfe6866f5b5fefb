"""Business time in real runs on both databases: timers are rows, a pause holds them, no restart loses one."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from django.db import connection

from flows.definition.plan import DEFAULT_DEADLINE
from runs import clock, overdue, store, waits
from runs.actions import deliver, pause_run, resume_run
from runs.engine.state import NO_ITEM
from runs.keeper import Keeper
from runs.models import Run, RunEvent, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, Cluster, begin, check_fold, ended, make_flow, wait_until
from tests.engine.test_store_queue import drain


def work(*runs: str) -> list[str]:
    worker = Worker("w")
    wait_until(lambda: not worker.work_once() and ended(list(runs)))
    worker.heart.stop()
    for run in runs:
        check_fold(run)
    return [Run.objects.get(pk=run).status for run in runs]


def token(run: str, step: str) -> str:
    loaded = store.load(run)
    assert loaded is not None
    return waits.token_of(loaded.plan, run, step, NO_ITEM, 1)


def far(run: str, **where: Any) -> None:
    """Its timer is due now, as if time had passed."""
    Work.objects.filter(run_id=run, kind="timer", **where).update(wake_at=clock.now() - 1)


def test_a_runs_own_deadline_is_a_row_from_the_start_and_ends_it(database: str) -> None:
    run = begin(make_flow("{flow: a, deadline: 3s, steps: [{id: s, sleep: 1h}]}"))
    drain(Worker("w"))
    row = Work.objects.get(run_id=run, step="", name="deadline")
    assert row.wake_at == pytest.approx((Run.objects.get(pk=run).started_at or 0.0) + 3.0)
    assert work(run) == ["timed_out"]
    assert Run.objects.get(pk=run).error["class"] == "deadline"
    assert not Work.objects.filter(run_id=run).exists()


def test_runs_without_a_deadline_have_no_row_and_end_after_thirty_days(database: str) -> None:
    flow = make_flow("{flow: a, steps: [{id: s, sleep: 300d}]}")
    own = make_flow("{flow: b, deadline: 300d, steps: [{id: s, sleep: 300d}]}")
    old, young, other = begin(flow), begin(flow), begin(own)
    drain(Worker("w"))
    assert not Work.objects.filter(run_id__in=(old, young), step="").exists()
    aged = clock.now() - DEFAULT_DEADLINE - 5
    Run.objects.filter(pk__in=(old, other)).update(created_at=aged, started_at=aged)
    Keeper({"deadlines": overdue.tell}).turn()
    drain(Worker("w"))
    assert {r.pk: r.status for r in Run.objects.all()} == {old: "timed_out", young: "waiting", other: "waiting"}


def test_a_deadline_runs_on_while_paused_and_takes_effect_at_resume(database: str) -> None:
    run = begin(make_flow("{flow: a, steps: [{id: s, sleep: 1h, deadline: 2s}]}"))
    drain(Worker("w"))
    pause_run(actor=SYSTEM, run_id=run, reason="lunch")
    time.sleep(2.1)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).status == "paused"
    assert Work.objects.filter(run_id=run, name="deadline", wake_at=None, held_at__isnull=False).exists()
    resume_run(actor=SYSTEM, run_id=run)
    assert work(run) == ["failed"]
    assert StepRun.objects.get(run_id=run).state["error"]["class"] == "deadline"


def test_an_answer_before_the_deadline_stands_even_if_the_timer_is_looked_at_first(database: str) -> None:
    run = begin(make_flow("{flow: a, steps: [{id: s, wait: {callback: {timeout: 1h}}, deadline: 30m}]}"))
    drain(Worker("w"))
    assert deliver(token=token(run, "s"), payload={"ok": True}, actor=SYSTEM).outcome == "accepted"
    Work.objects.filter(run_id=run, kind="step").update(wake_at=clock.now() + 60)  # the wake-up is slow
    far(run, name="deadline")
    assert work(run) == ["succeeded"]
    assert StepRun.objects.get(run_id=run).output == {"ok": True}


def test_an_answer_after_the_deadline_is_late(database: str) -> None:
    run = begin(make_flow("{flow: a, steps: [{id: s, wait: {callback: {timeout: 1h}}, deadline: 30m}]}"))
    drain(Worker("w"))
    far(run, name="deadline")
    work(run)
    assert deliver(token=token(run, "s"), payload={}, actor=SYSTEM).outcome == "late"


POLL = """
flow: poll
steps:
  - id: count
    kv: {increment: {key: n}}
    timeout: 5s
    until: {condition: "${{ steps.count.output.value >= 3 }}", every: 50ms, max_rounds: 10}
output: {n: "${{ steps.count.output }}"}
"""


def test_polling_goes_round_by_round_each_with_its_own_key(database: str) -> None:
    run = begin(make_flow(POLL))
    assert work(run) == ["succeeded"]
    step = StepRun.objects.get(run_id=run)
    assert (step.output, step.pass_no, step.state["round_no"]) == ({"value": 3}, 3, 2)
    assert Run.objects.get(pk=run).output == {"n": {"value": 3}}


ESCALATE = """
flow: escalate
sla: 150ms
on_sla: {steps: [page]}
steps:
  - id: s
    sleep: 400ms
    sla: 100ms
  - id: page
    kv: {set: {key: paged, value: "${{ steps.s.status }}"}}
"""


def test_a_missed_sla_alerts_and_escalates_beside_the_run(database: str) -> None:
    run = begin(make_flow(ESCALATE))
    assert work(run) == ["succeeded"]
    types = list(RunEvent.objects.filter(run_id=run).order_by("seq").values_list("type", flat=True))
    assert types.index("step.sla_missed") < types.index("run.sla_missed") < types.index("step.time_up")
    assert {s.step: s.status for s in StepRun.objects.filter(run_id=run)} == {"s": "succeeded", "page": "succeeded"}


# -- clocks --------------------------------------------------------------------------------------------------------
def lateness(run: str) -> float:
    """Seconds between the time a timer was set for and the commit of what it led to."""
    until = RunEvent.objects.get(run_id=run, type="step.waiting").data["until"]
    return float(RunEvent.objects.get(run_id=run, type="step.time_up").at - until)


def test_setting_the_hosts_clock_moves_nothing_where_the_database_has_its_own(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.measure()
    before, real = clock.now(), time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    moved = clock.now() - before
    assert (moved < 10) if connection.vendor == "postgresql" else (moved > 3590)


SKEW = """
CREATE SCHEMA skew;
CREATE TABLE skew.by (seconds float8);
INSERT INTO skew.by VALUES (0);
CREATE FUNCTION skew.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  $$ SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM skew.by)) $$;
CREATE FUNCTION skew.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  $$ SELECT pg_catalog.now() + make_interval(secs => (SELECT seconds FROM skew.by)) $$;
GRANT USAGE ON SCHEMA skew TO PUBLIC;
GRANT SELECT ON skew.by TO PUBLIC;
"""


def test_sleeps_end_when_they_should_over_a_restart_and_a_step_of_the_clock(database: str) -> None:
    """Generous bounds, since this machine may be busy; `python -m tests.bench` gives the figures.

    Only PostgreSQL's clock can be set apart from the host's: by a function in front of the real one.
    """
    flow = make_flow("{flow: a, input: {type: object}, steps: [{id: s, sleep: '${{ input.seconds }}'}]}")
    skewed = _skew(database)
    with Cluster(database, workers=2):
        quiet = begin(flow, seconds=0.7)
        wait_until(lambda: ended([quiet]))
        over, later = begin(flow, seconds=0.5), begin(flow, seconds=600)
        wait_until(lambda: StepRun.objects.filter(status="waiting").count() == 2)
    time.sleep(0.5)
    with Cluster(database, workers=2):
        wait_until(lambda: ended([over]))
        if skewed:
            _set_clock_before(database, later)
            wait_until(lambda: ended([later]))
    late = [lateness(run) for run in (quiet, over, *([later] if skewed else ()))]
    print(f"late by {[f'{s * 1000:.1f} ms' for s in late]}")
    assert min(late) >= -0.01  # by the database's clock, never early
    assert late[0] < 5.0 and (not skewed or late[2] < 5.0)  # far from what a clock nobody asked would give


def _skew(database: str) -> bool:
    if connection.vendor != "postgresql":
        return False
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(SKEW)
        admin.execute(f'ALTER DATABASE "{database.rpartition("/")[2]}" SET search_path = skew, pg_catalog, public')
    connection.close()
    return True


def _set_clock_before(database: str, run: str) -> None:
    """Set the database's clock to a little before the run's sleep is over: by then the watcher has learnt of it."""
    until = RunEvent.objects.get(run_id=run, type="step.waiting").data["until"]
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "UPDATE skew.by SET seconds = %s - extract(epoch FROM pg_catalog.clock_timestamp())", [until - 1.5]
        )
