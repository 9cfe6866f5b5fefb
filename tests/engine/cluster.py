"""A real cluster of workers on a database, and what must hold of its runs whatever was killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from django.conf import settings

from flows.definition.compiler import compile_source
from flows.models import Flow, Release
from orchestra.supervisor.child import leash
from resources.access import Actor
from resources.models import Connection
from runs import bell, store
from runs.actions import start_run
from runs.engine.state import State
from runs.engine.turn import Event
from runs.models import Run, RunEvent, StepRun, Work
from tests.engine.databases import worker_url
from tests.engine.fold import fold
from tests.services import ROOT
from tests.stack import group_members

SYSTEM = Actor.system("test")
WORKERS = 3
#: seconds; how long a test waits for what has to come: only a broken program takes it, however slow the machine
PATIENCE = 200.0


def wait_until(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true value of `what`. Fails the test when it takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def make_flow(source: str) -> Flow:
    """A flow with a live release, compiled from YAML."""
    plan, problems = compile_source(source)
    assert plan is not None, problems
    flow = Flow.objects.create(slug=plan.flow)
    made = {"plan_json": plan.to_json(), "checksum": plan.checksum, "language": plan.language}
    flow.live = Release.objects.create(flow=flow, version="1.0.0", source=source, revision=1, **made)
    flow.save(update_fields=["live"])
    return flow


def make_connections(world: str) -> None:
    """`world` honours keys, `plain` does not."""
    for name, honours in (("world", True), ("plain", False)):
        config = {"base_url": world, "allow_networks": ["127.0.0.0/8"], "honours_idempotency_key": honours}
        Connection.objects.create(name=name, kind="http", settings=config)


def begin(flow: Flow, **input_: Any) -> str:
    return str(start_run(actor=SYSTEM, flow=flow, input=input_).run.pk)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def turn(world: str, **knobs: Any) -> None:
    """The demo world's knobs, all of them: what is left out is off."""
    request = urllib.request.Request(f"{world}/knobs", json.dumps(knobs).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=60).close()


class Cluster:
    """`manage.py qcluster` in a process group of its own, on PostgreSQL under the restricted role of workers; `tend` is
    what the supervisor does."""

    def __init__(self, database_url: str, *, workers: int = WORKERS, lease: float = 2.0, **env: str) -> None:
        self.env = {
            **{k: v for k, v in os.environ.items() if k not in ("PORT", "WORLD_URL")},
            "DJANGO_SETTINGS_MODULE": "orchestra.settings",
            "DATABASE_URL": worker_url(database_url),
            "DATA_DIR": str(settings.DATA_DIR),
            "WORKERS": str(workers),
            "LEASE_SECONDS": str(lease),
            "DEMO": "0",
            **env,
        }
        self.workers = workers
        self.log = Path(settings.DATA_DIR) / "cluster.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log.read_text()[-4000:])
        self.sweep()

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "qcluster"], cwd=ROOT, env=self.env, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=leash(os.getpid(), signal.SIGKILL),
            )  # fmt: skip
        wait_until(lambda: len(self.serving()) >= self.workers and connected_workers() >= self.workers)

    def tend(self) -> None:
        """Where the main process has ended: end what is left of its group and start anew."""
        if self.process.poll() is not None:
            self.sweep()
            self.start()

    def sweep(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not group_members(self.process.pid))

    # -- who is who ------------------------------------------------------------------------------------------
    @property
    def main(self) -> int:
        return self.process.pid

    @property
    def sentinel(self) -> int:
        return children(self.main)[0]

    def serving(self) -> list[int]:
        """The workers, whether they have taken their task yet or not."""
        own = group_members(self.process.pid)
        if len(own) < self.workers + 4:
            return []
        return sorted(children(self.sentinel))[: self.workers]

    @property
    def monitor(self) -> int:
        return sorted(children(self.sentinel))[self.workers]

    @property
    def pusher(self) -> int:
        return sorted(children(self.sentinel))[self.workers + 1]

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def connected_workers() -> int:
    """How many workers hold a watcher's socket: they have taken their task, and with it left the task queue alone."""
    watchers = str(bell.directory() / "watch-")
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return sum(fields[5] == "03" and fields[-1].startswith(watchers) for fields in sockets[1:])


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def holder(run_id: str, step: str) -> int | None:
    """Process id of the worker that runs this step now."""
    running = StepRun.objects.filter(run_id=run_id, step=step, status="running").exists()
    owner = Work.objects.filter(run_id=run_id, step=step).values_list("owner", flat=True).first()
    return int(owner.rsplit(":", 2)[1]) if running and owner else None


def ended(runs: list[str]) -> bool:
    return not Run.objects.filter(pk__in=runs, ended_at__isnull=True).exists()


# -- what must hold ---------------------------------------------------------------------------------------------
def check_runs(runs: list[str], status: str = "succeeded") -> None:
    """Every run ended as it should; no step with a result ran again; the history is whole and folds to the state."""
    for run_id in runs:
        run = Run.objects.get(pk=run_id)
        assert run.status == status, (run.status, run.error)
        events = list(RunEvent.objects.filter(run_id=run_id).order_by("seq"))
        assert [e.seq for e in events] == list(range(1, run.seq + 1))
        _check_once(events)
        check_fold(run_id)
    assert not Work.objects.filter(run_id__in=runs).exists()


def _check_once(events: list[RunEvent]) -> None:
    settled: set[tuple[str, int, int]] = set()
    passes: dict[tuple[str, int], int] = {}
    for event in events:
        where = (event.step, event.item)
        if event.type == "step.started":
            passes[where] = event.data["pass"]
            assert (*where, event.data["pass"]) not in settled, f"{where} ran again"
        elif event.type in ("step.succeeded", "step.answered"):
            key = (*where, passes.get(where, 1))
            assert key not in settled, f"{where} has two results"
            settled.add(key)


def check_fold(run_id: str) -> None:
    """The recorded causes give the state that is stored."""
    loaded = store.load(run_id)
    assert loaded is not None
    state = loaded.state
    first = State(run_id, input=state.input, trigger=state.trigger, created_at=state.created_at)
    rows = RunEvent.objects.filter(run_id=run_id, cause=True).order_by("seq")
    events = [(Event(e.type, e.step, e.item, e.actor, e.data, cause=True), e.at) for e in rows]
    again = fold(loaded.plan, first, events)
    assert {k: (s.status, s.output, s.attempt) for k, s in again.steps.items()} == {
        k: (s.status, s.output, s.attempt) for k, s in state.steps.items()
    }
    assert (again.status, again.output) == (state.status, state.output)


def check_effects(world: str, keys: int | None = None) -> None:
    """Each key took effect once; where keys are ignored, extra requests are covered by attempts recorded as lost."""
    effects = get(f"{world}/effects")
    lost = Counter((e.run_id, e.step, e.item) for e in RunEvent.objects.filter(type="step.lost"))
    for row in effects:
        run_id, step, *rest = row["key"].split(":")
        item = int(rest[0]) if len(rest) == 2 else -1
        if row["kind"].startswith("plain-"):
            assert row["requests"] - 1 <= lost[run_id, step, item], row
        else:
            assert row["applied"] == 1, row
    if keys is not None:
        assert len(effects) == keys, effects
