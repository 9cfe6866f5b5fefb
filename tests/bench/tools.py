"""What all marks use: a flow with a live release, waiting for runs, quantiles."""

from __future__ import annotations

import sys
import time

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources.access import Actor
from runs.models import Run

SYSTEM = Actor.system("bench")


def chain(name: str, steps: int) -> str:
    """A flow of trivial steps, one after the other."""
    lines = (f"  - id: s{i}\n    function: {{code: '{i} + 1'}}\n" for i in range(steps))
    return f"flow: {name}\nsteps:\n" + "".join(lines)


def flow(source: str) -> Flow:
    made = create_flow(actor=SYSTEM, source=source)
    release_draft(actor=SYSTEM, slug=made.slug, version="1.0.0", notes="", live=True)
    return Flow.objects.select_related("live").get(pk=made.pk)


def quantile(values: list[float], q: float) -> str:
    ordered = sorted(values)
    return f"{ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000:.1f} ms"


def wait_for(runs: list[str], seconds: float = 120.0) -> list[Run]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not Run.objects.filter(pk__in=runs, ended_at__isnull=True).exists():
            found = list(Run.objects.filter(pk__in=runs))
            bad = [r for r in found if r.status != "succeeded"]
            if bad:
                sys.exit(f"a run did not succeed: {bad[0].status} {bad[0].error}")
            return found
        time.sleep(0.05)
    sys.exit("the runs did not end in time")
