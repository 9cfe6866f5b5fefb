"""The load of a soak, in the environment of the program under test: measures the peak, keeps it, doubles it, stops."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import django

django.setup()

from django.db import transaction  # noqa: E402  needs the apps

from flows.actions import create_flow, release_draft  # noqa: E402
from flows.models import Flow  # noqa: E402
from resources.access import Actor  # noqa: E402
from runs.actions import start_run  # noqa: E402
from runs.models import Run  # noqa: E402

SYSTEM = Actor.system("soak")
#: seconds of the measurement of the peak
PROBE = 10.0
DRAIN = 600.0


class Source:
    def __init__(self) -> None:
        create_flow(actor=SYSTEM, source=os.environ["FLOW"])
        release_draft(actor=SYSTEM, slug="soak", version="1.0.0", notes="", live=True)
        self.flow = Flow.objects.select_related("live").get(slug="soak")
        self.started = 0
        self.backlog: list[int] = []

    def start(self, count: int) -> None:
        with transaction.atomic():
            for _ in range(count):
                start_run(actor=SYSTEM, flow=self.flow, input={"n": self.started})
                self.started += 1

    @staticmethod
    def unended() -> int:
        return Run.objects.filter(ended_at__isnull=True).count()

    def peak(self) -> float:
        """Runs that end in a second while there are always some to begin."""
        began, before = time.monotonic(), Run.objects.filter(ended_at__isnull=False).count()
        while time.monotonic() - began < PROBE:
            if self.unended() < 100:
                self.start(50)
            time.sleep(0.05)
        return (Run.objects.filter(ended_at__isnull=False).count() - before) / PROBE

    def keep(self, rate: float, seconds: float) -> int:
        """`rate` runs a second for so long; the backlog at the end."""
        began, before = time.monotonic(), self.started
        while (at := time.monotonic() - began) < seconds:
            due = int(at * rate) - (self.started - before)
            if due > 0:
                self.start(min(due, 50))
            time.sleep(0.1)
        return self.unended()


def main(seconds: float) -> dict[str, Any]:
    source = Source()
    peak = source.peak()
    at_peak = source.keep(peak * 0.95, seconds * 0.55)
    at_twice = source.keep(peak * 2, seconds * 0.2)
    began = time.monotonic()
    while source.unended() and time.monotonic() - began < DRAIN:
        time.sleep(0.2)
    drained = time.monotonic() - began
    return {
        "peak_runs_s": round(peak, 1), "runs": source.started, "backlog_after_peak": at_peak,
        "backlog_after_twice": at_twice, "drained_s": round(drained, 1), "lost": source.unended(),
        "failed": Run.objects.exclude(status="succeeded").filter(ended_at__isnull=False).count(),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]))))
