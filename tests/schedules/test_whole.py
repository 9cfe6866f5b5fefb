"""From the clock to the end of a run, with a real worker: due, failed, paused by itself, retried, folded again."""

from __future__ import annotations

from runs import clock, controls
from runs.models import Run
from runs.schedules import firing
from runs.schedules.models import Schedule, ScheduledTime
from runs.worker import Worker
from tests.engine.cluster import SYSTEM
from tests.engine.test_store_queue import drain
from tests.engine.test_store_waits import check_history
from tests.schedules.test_keepers import prepare

SOURCE = """\
flow: {slug}
title: T
input: {{type: object, properties: {{at: {{type: string}}}}}}
triggers:
  - schedule: {{name: one, cron: "0 0 1 1 *", pause_on_failure: true, input: {{at: "${{{{ trigger.scheduled_at }}}}"}}}}
steps:
  - id: when
    function: {{code: "at", input: {{at: "${{{{ trigger.scheduled_at }}}}"}}}}
  - id: fails
    function: {{code: "1 / 0"}}
    retry: {{max_attempts: 1}}
"""


def test_a_due_time_runs_fails_pauses_the_schedule_and_counts_again_when_it_is_retried(database: str) -> None:
    now = clock.now()
    prepare(("a",), now, SOURCE)
    firing.turn(now)
    drain(Worker("w"))
    run = Run.objects.get()
    assert (run.status, run.step_runs.get(step="when").output) == ("failed", run.input["at"])
    firing.turn(now + 1)
    schedule = Schedule.objects.get()
    assert f"the last one: run {run.pk}" in schedule.paused_note
    assert ScheduledTime.objects.get().open is False
    controls.retry_run(actor=SYSTEM, run_id=run.pk, reason="mended")
    assert ScheduledTime.objects.get().open is True
    drain(Worker("w"))
    check_history(run.pk)
