"""Real keepers: two share the work, and one killed in the middle of it loses nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from orchestra.supervisor.child import leash
from runs.models import Delivery
from tests.engine.cluster import PATIENCE, wait_until
from tests.outbound.conftest import make_flow, make_run
from tests.outbound.receiver import Endpoint, status
from tests.services import ROOT

EVENTS = 80


def keeper(database: str) -> subprocess.Popen[bytes]:
    """`manage.py keeper` with short timeouts; ends with this process."""
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("PORT", "WORLD_URL")},
        "DJANGO_SETTINGS_MODULE": "orchestra.settings", "DATABASE_URL": database, "DATA_DIR": str(settings.DATA_DIR),
        "OUTBOUND_TIMEOUT_SECONDS": "1", "DEMO": "0",
    }  # fmt: skip
    with (Path(settings.DATA_DIR) / "keeper.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "manage.py", "keeper"], cwd=ROOT, env=environment, stdout=log, stderr=log,
            preexec_fn=leash(os.getpid(), signal.SIGKILL),
        )  # fmt: skip


def test_a_keeper_killed_while_it_sends_loses_nothing_and_repeats_only_with_the_same_id(
    database: str, receiver: Endpoint, subscribe: Any
) -> None:
    def slowly(handler: Any) -> None:
        time.sleep(random.uniform(0, 0.02))
        status(204)(handler)

    receiver.answers["/"] = slowly
    secret = subscribe().secret
    flow = make_flow()
    first, second = keeper(database), keeper(database)
    try:
        run = make_run(flow, *["run.started"] * (EVENTS // 2))
        wait_until(lambda: len(receiver.received) > 20)
        first.kill()
        first.wait()
        make = make_run(flow, *["run.started"] * (EVENTS // 2))
        wait_until(lambda: Delivery.objects.filter(status="delivered").count() == EVENTS // 2 * 2)
    finally:
        first.kill()
        second.terminate()
    assert second.wait(PATIENCE) == 0
    wanted = {f"evt_{one.pk}_{n}" for one in (run, make) for n in range(1, EVENTS // 2 + 1)}
    assert set(receiver.ids()) == wanted
    assert all(got.signed_by(secret) for got in receiver.received)
    lost = Delivery.objects.filter(attempts__gt=1).count()
    assert len(receiver.received) - len(wanted) <= lost  # every repeat is a delivery whose keeper vanished
    assert len({(got.id, got.body) for got in receiver.received}) == len(wanted)
