"""Marks (g) to (k): many parked runs, many finished ones, many workers, a long chain, a worker killed in its work."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.db import connection, transaction

from resources.people.sessions import SessionStore
from runs.actions import deliver, start_run
from runs.models import Run, RunEvent, StepRun, WaitToken, Work
from tests.bench.tools import SYSTEM, chain, flow, quantile, wait_for

PARK = """flow: bench-park
steps:
  - id: hold
    wait: {callback: {timeout: 24h}}
  - id: act
    function: {code: "1"}
"""
BUSY = """flow: bench-busy
steps:
  - id: work
    function: {code: "n = 0\\nwhile True:\\n    n += 1", limits: {time: 3s}}
"""
ONE = """flow: bench-one
steps:
  - id: one
    function: {code: "1"}
"""
IDLE_SECONDS = 20.0


# -- (g) -----------------------------------------------------------------------------------------------------------
def parked(scale: float) -> dict[str, str]:
    """Runs that wait for an answer: what they cost while they do, and how soon one goes on."""
    park = flow(PARK)
    before = _memory(), _wakes(park)
    count = int(10_000 * scale)
    for _ in range(0, count, 500):
        with transaction.atomic():
            for _ in range(min(500, count)):
                start_run(actor=SYSTEM, flow=park, input={})
    end = time.monotonic() + 600
    while Work.objects.filter(kind=Work.Kind.STEP).exists():
        if time.monotonic() > end:
            sys.exit("the runs were not parked in time")
        time.sleep(0.2)
    time.sleep(2)
    busy = _cpu()
    time.sleep(IDLE_SECONDS)
    idle = (_cpu() - busy) / IDLE_SECONDS
    after = _memory(), _wakes(park)
    return {
        "runs": str(count),
        "memory": f"{before[0]:.0f} -> {after[0]:.0f} MB",
        "idle": f"{idle * 100:.2f} % of a core",
        "wake p50": f"{quantile(before[1], 0.5)} -> {quantile(after[1], 0.5)}",
    }


def _wakes(park: Any) -> list[float]:
    """Answer committed -> next step started, seconds."""
    took = []
    for _ in range(30):
        run = start_run(actor=SYSTEM, flow=park, input={}).run.pk
        while not WaitToken.objects.filter(run_id=run, status="open").exists():
            time.sleep(0.005)
        time.sleep(0.02)
        deliver(token=WaitToken.objects.get(run_id=run).token, payload=1, actor=SYSTEM)
        committed = time.time()
        wait_for([run])
        took.append(max(0.0, RunEvent.objects.get(run_id=run, type="step.started", step="act").at - committed))
    return took


# -- (h) -----------------------------------------------------------------------------------------------------------
def finished(scale: float) -> dict[str, str]:
    """Start, claim and the runs page with few and with many ended runs in the database."""
    one = flow(ONE)
    template = start_run(actor=SYSTEM, flow=one, input={}).run.pk
    wait_for([template])
    cookie = _cookie()
    shown: dict[str, str] = {}
    for count in (10_000, max(20_000, int(1_000_000 * scale))):
        _copy(template, count)
        starts, ends, pages = [], [], []
        for _ in range(100):
            began = time.time()
            run = start_run(actor=SYSTEM, flow=one, input={}).run
            starts.append(time.time() - began)
            ended = wait_for([run.pk])[0]
            ends.append((ended.ended_at or 0) - run.created_at)
        for _ in range(30):
            pages.append(_page(cookie))
        shown[f"at {count:,}"] = ", ".join(
            f"{name} {quantile(values, 0.5)}" for name, values in (("start", starts), ("run", ends), ("page", pages))
        )
    return shown


def _copy(template: str, count: int) -> None:
    """`count` ended runs in all, each like the template, with its step and an event; one a second before it.

    Their ids are in the order of time, as ids of runs are.
    """
    have = Run.objects.filter(pk__startswith="00").count()
    number = f"{10**15} - n"
    number = f"lpad(({number})::text, 24, '0')" if connection.vendor == "postgresql" else f"printf('%024d', {number})"
    numbers = "WITH RECURSIVE c(n) AS (SELECT %s UNION ALL SELECT n + 1 FROM c WHERE n < %s)"
    if connection.vendor == "postgresql":
        numbers = "WITH c AS (SELECT generate_series(%s::int, %s::int) AS n)"
    with connection.cursor() as cursor:
        for first in range(have, count, 50_000):
            last = min(count, first + 50_000) - 1
            for model, key, rest in ((Run, "id", ""), (StepRun, "run_id", ""), (RunEvent, "run_id", " AND t.seq = 1")):
                columns = [
                    str(f.column) for f in model._meta.local_concrete_fields if not (f.primary_key and key != "id")
                ]
                values = [_value(name, key, number) for name in columns]
                table = model._meta.db_table
                cursor.execute(
                    f"{numbers} INSERT INTO {table} ({', '.join(columns)}) "
                    f"SELECT {', '.join(values)} FROM c, {table} AS t WHERE t.{key} = %s{rest}".replace("'%0", "'%%0"),
                    [first, last, template],
                )
        # what PostgreSQL does by itself after so many new rows, a minute later
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _value(column: str, key: str, number: str) -> str:
    if column == key:
        return f"'00' || {number}"
    return "t.created_at - n" if column == "created_at" else f"t.{column}"


def _cookie() -> str:
    user = User.objects.create_superuser("bench-admin")
    session = SessionStore()
    session.update(
        {
            SESSION_KEY: str(user.pk),
            BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
            HASH_SESSION_KEY: user.get_session_auth_hash(),
        }
    )
    session.create()
    return str(session.session_key)


def _page(session: str) -> float:
    from django.conf import settings

    plain = http.client.HTTPConnection(os.environ["BASE_URL"].removeprefix("http://"))
    began = time.monotonic()
    plain.request("GET", "/runs", headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"})
    answer = plain.getresponse()
    answer.read()
    if answer.status != 200:
        sys.exit(f"the runs page answered {answer.status}")
    return time.monotonic() - began


# -- (j) -----------------------------------------------------------------------------------------------------------
def long_chain(scale: float) -> dict[str, str]:
    """One run of 40 steps at idle."""
    forty, took = flow(chain("bench-forty", 40)), []
    for _ in range(max(3, int(30 * scale))):
        run = start_run(actor=SYSTEM, flow=forty, input={}).run
        took.append((wait_for([run.pk])[0].ended_at or 0) - run.created_at)
        time.sleep(0.02)
    return {"p50": quantile(took, 0.5), "p95": quantile(took, 0.95)}


# -- (k) -----------------------------------------------------------------------------------------------------------
def killed(scale: float) -> dict[str, str]:
    """kill -9 of the worker that computes -> the next attempt's start."""
    busy, took = flow(BUSY), []
    for _ in range(max(3, int(10 * scale))):
        run = start_run(actor=SYSTEM, flow=busy, input={}).run.pk
        owner = _until(partial(_owner, run))
        time.sleep(0.3)
        os.kill(int(owner.rsplit(":", 2)[1]), signal.SIGKILL)
        began = time.time()
        second = RunEvent.objects.filter(run_id=run, type="step.started").order_by("seq")[1:2]
        took.append(_until(second.all)[0].at - began)
        time.sleep(4)  # until it has given up, and the killed worker's successor is there
    return {"p50": quantile(took, 0.5), "max": quantile(took, 1.0)}


def _owner(run: str) -> str | None:
    started = StepRun.objects.filter(run_id=run, step="work", status="running").exists()
    found = Work.objects.filter(run_id=run, step="work", kind=Work.Kind.STEP).values_list("owner", flat=True).first()
    return found if started else None


def _until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.005)
    sys.exit("what was waited for did not come")


# -- the stack's processes -------------------------------------------------------------------------------------------
def _processes() -> list[int]:
    found = [int(os.environ["STACK_PID"])]
    for pid in found:
        try:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        except OSError:
            continue
    return found


def _memory() -> float:
    """MB of all of them, shared pages counted once."""
    total = 0
    for pid in _processes():
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return total / 1024


def _cpu() -> float:
    """Seconds of CPU all of them have used so far."""
    ticks = 0
    for pid in _processes():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
