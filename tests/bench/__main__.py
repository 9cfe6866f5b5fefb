"""`make bench`: the marks of the engine and the pages on SQLite (WAL, full sync) and PostgreSQL (fsync on).

python -m tests.bench [--database sqlite|postgres] [--only a,b,c,…,o] [--scale 1.0]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests import services
from tests.bench import masking
from tests.services import ROOT
from tests.stack import Stack

MARKS = {
    "a": "500 queued runs of 10 trivial steps",
    "b": "one such run at idle",
    "c": "fan-out 1 -> 100 -> join",
    "d": "decision committed -> next step started",
    "e": "webhook POST of a one-step flow -> run ended",
    "f": "event commit -> browser frame",
    "g": "10,000 parked runs",
    "h": "1,000,000 finished runs",
    "i": "500 runs of 10 steps, 16 workers",
    "j": "one run of 40 steps at idle",
    "k": "kill -9 of a worker -> first step",
    "m": "masking the values of secrets",
    "n": "1,000 http steps of 100 ms, 8 workers",
    "o": "what a worker imports before it works",
    "p": "a search among 100,000 resources",
}
#: the heavy ones run when they are asked for
USUAL = "a,b,c,d,e,f,i,j,k,m,n,o"
WORKERS = 4
OTHERS = {"i": 16, "n": 8}


@contextmanager
def stack_on(database: str, folder: Path, workers: int) -> Iterator[Stack]:
    env = {"LOG_LEVEL": "ERROR", "QUARANTINE_AFTER": "0"}  # (k) fails alike on purpose
    if database == "sqlite":
        with Stack(folder / "data", workers=workers, env=env) as stack:
            yield stack
        return
    with services.postgres() as server, Stack(folder / "data", server.url, workers, env) as stack:
        yield stack


def measure(stack: Stack, only: str, scale: float) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.bench.measure", "--only", only, "--scale", str(scale)]
    env = {**stack.environment(), "DJANGO_SETTINGS_MODULE": "orchestra.settings", "BASE_URL": stack.url}
    env["STACK_PID"] = str(stack.process.pid)
    done = subprocess.run(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def header() -> str:
    names = ("django", "django-q2", "channels", "daphne", "psycopg", "cel-expr-python", "pydantic-monty")
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    import sqlite3

    return (
        f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version} (WAL, synchronous=FULL), PostgreSQL (wheel, fsync on), {WORKERS} workers\n"
        + ", ".join(f"{name} {version(name)}" for name in names)
    )


def speed() -> str:
    """How fast the machine is just now: on a shared one it may double from one hour to the next."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        sum(i * i % 7 for i in range(1_000_000))
        took.append(time.perf_counter() - began)
    return f"a million rounds of Python's own: {min(took) * 1000:.0f} - {max(took) * 1000:.0f} ms"


def groups(marks: list[str]) -> list[tuple[int, list[str]]]:
    """(workers, marks): those of one stack together; what leaves much behind has one of its own."""
    common = [mark for mark in marks if mark not in "ghinp"]
    alone = [(OTHERS.get(mark, WORKERS), [mark]) for mark in marks if mark in "ghinp"]
    return [(WORKERS, common), *alone] if common else alone


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=["sqlite", "postgres"])
    parser.add_argument("--only", default=USUAL)
    parser.add_argument("--scale", type=float, default=1.0)
    chosen = parser.parse_args()
    print(header())
    print(f"load before: {os.getloadavg()[0]:.2f}; {speed()}\n")
    wanted = [mark for mark in chosen.only.split(",") if mark]
    if "m" in wanted:
        for label, values in masking.figures(chosen.scale):
            show("alone", "m", f"{MARKS['m']}: {label}", values)
    for database in [chosen.database] if chosen.database else ["sqlite", "postgres"]:
        for workers, marks in groups([mark for mark in wanted if mark != "m"]):
            with (
                tempfile.TemporaryDirectory(prefix="orchestra-bench-") as folder,
                stack_on(database, Path(folder), workers) as stack,
            ):
                figures = measure(stack, ",".join(marks), chosen.scale)
            for mark, values in figures.items():
                show(database, mark, MARKS[mark], values)
        print(f"{database:9} afterwards: {speed()}")
    return 0


def show(where: str, mark: str, title: str, values: dict[str, Any]) -> None:
    shown = "  ".join(f"{name} {value}" for name, value in values.items())
    print(f"{where:9} ({mark}) {title:46} {shown}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
