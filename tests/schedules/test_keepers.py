"""Real keeper processes side by side, killed and not: each due time starts once, at its time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import transaction

from flows.signals import live_changed
from orchestra.supervisor.child import leash
from runs.models import Run, StartKey
from runs.schedules.models import Schedule, ScheduledTime
from tests.engine.cluster import SYSTEM, make_flow, wait_until
from tests.services import ROOT

FLOW = """\
flow: {slug}
title: T
triggers:
  - schedule: {{name: one, cron: "* * * * *", overlap: allow_all}}
  - schedule: {{name: two, cron: "* * * * *", overlap: allow_all, jitter: 20s}}
steps: [{{id: rest, sleep: 1h}}]
"""
TIMES = 12


@contextlib.contextmanager
def keepers(url: str, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """`manage.py keeper`, `count` times."""
    env = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "orchestra.settings", "DATABASE_URL": url,
        "DATA_DIR": str(settings.DATA_DIR), "DEMO": "0",
    }  # fmt: skip
    log = Path(settings.DATA_DIR) / "keepers.log"
    with log.open("wb") as out:
        argv = [sys.executable, "manage.py", "keeper"]
        leashed = leash(os.getpid(), signal.SIGKILL)
        found = [
            subprocess.Popen(argv, cwd=ROOT, env=env, stdout=out, stderr=out, preexec_fn=leashed) for _ in range(count)
        ]
        try:
            yield found
        finally:
            for process in found:
                process.kill()
                process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]


def prepare(slugs: tuple[str, ...], due: float, source: str = FLOW) -> None:
    """Flows whose schedules have been due since `due`."""
    for slug in slugs:
        flow = make_flow(source.format(slug=slug))
        assert flow.live is not None
        with transaction.atomic():
            live_changed.send(sender=None, flow=flow, plan=flow.live.plan, actor=SYSTEM)
    Schedule.objects.update(due_at=due, wake_at=due)


def test_keepers_side_by_side_and_one_of_them_killed_start_each_due_time_once(database: str) -> None:
    minute = time.time() // 60 * 60
    prepare(("a", "b"), minute - (TIMES - 1) * 60)
    with keepers(database, 3) as processes:
        wait_until(lambda: Run.objects.count() >= 5)
        processes[0].kill()
        wait_until(lambda: not Schedule.objects.filter(due_at__lte=minute).exists())
    rows = list(ScheduledTime.objects.filter(due_at__lte=minute).values_list("schedule_id", "key", "state", "run_id"))
    assert len(rows) == 4 * TIMES
    assert {state for _, _, state, _ in rows} == {"started"}
    started = [
        (run.flow_id, run.trigger["name"], run.trigger["scheduled_at"])
        for run in Run.objects.all()
        if run.pk in {run_id for *_, run_id in rows}
    ]
    assert len(started) == len(set(started)) == 4 * TIMES
    # the next minute may have come meanwhile, with a time that its jitter puts off
    taken = ScheduledTime.objects.filter(state="started")
    assert Run.objects.count() == taken.count() == StartKey.objects.count()


def test_a_keeper_starts_what_is_due_at_its_time_and_not_before(database: str) -> None:
    prepare(("a", "b"), time.time() + 3600)
    first, second = Schedule.objects.filter(name="one").order_by("pk")
    with keepers(database, 2):
        Schedule.objects.filter(pk=first.pk).update(due_at=time.time(), wake_at=time.time())
        wait_until(lambda: Run.objects.exists())  # they are up
        due = time.time() + 1.5
        Schedule.objects.filter(pk=second.pk).update(due_at=due, wake_at=due)
        wait_until(lambda: Run.objects.filter(flow=second.flow_id).exists())
    run = Run.objects.filter(flow=second.flow_id).earliest("created_at")
    assert run.created_at >= due  # 10 to 30 ms later, were nothing else at work here
