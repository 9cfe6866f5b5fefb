"""`python -m tests.chaos.soak [--database …] [--minutes N]`: at peak, at twice the peak, then left in peace.

The peak is measured first: how many runs a second end while more are waiting. Memory is the proportional share (PSS) of
every process of the program; it must be flat, the backlog must drain, and nothing may be lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.services import ROOT, postgres
from tests.stack import Stack, group_members

FLOW = """flow: soak
steps:
  - id: a
    function: {code: "n + 1", input: {n: "${{ input.n }}"}}
  - id: b
    for_each: {items: [1, 2, 3]}
    function: {code: "n * 2", input: {n: "${{ item }}"}}
  - id: c
    sleep: 200ms
  - id: d
    kv: {set: {key: "last", value: "${{ input.n }}"}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--database", default="sqlite,postgres")
    parser.add_argument("--minutes", type=float, default=4.0, help="for each database")
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {asked.minutes} min each")
    worst = 0
    for database in asked.database.split(","):
        with tempfile.TemporaryDirectory(prefix="orchestra-soak-") as folder, contextlib.ExitStack() as stack:
            url = stack.enter_context(postgres()).new_database() if database == "postgres" else ""
            program = stack.enter_context(Stack(Path(folder) / "data", database_url=url, workers=4))
            found = soak(program, asked.minutes * 60)
        print(json.dumps({"database": database, **found}, indent=1))
        worst |= found["lost"] or found["failed"]
    return int(bool(worst))


def soak(program: Stack, seconds: float) -> dict[str, Any]:
    argv, env = (
        [sys.executable, "-m", "tests.chaos.source", str(seconds)],
        program.environment()
        | {
            "FLOW": FLOW,
            "DJANGO_SETTINGS_MODULE": "orchestra.settings",
        },
    )
    source = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    samples: list[tuple[float, dict[str, float]]] = []
    began = time.monotonic()
    while source.poll() is None:
        samples.append((time.monotonic() - began, memory(program)))
        time.sleep(2.0)
    assert source.stdout is not None
    told = json.loads(source.stdout.read().splitlines()[-1])
    # the first tenth warms caches up
    warm = [s for at, s in samples if at > 0.1 * samples[-1][0]]
    third = max(1, len(warm) // 3)
    names = sorted(warm[0])
    told["memory_mb"] = {
        name: {
            "first third": round(statistics.median(s.get(name, 0.0) for s in warm[:third]), 1),
            "last third": round(statistics.median(s.get(name, 0.0) for s in warm[-third:]), 1),
        }
        for name in names
    }
    return dict(told)


def memory(program: Stack) -> dict[str, float]:
    """{part: MB of proportional set size}."""
    found: dict[str, float] = {}
    for name, pid in program.children().items():
        found[name] = sum(_pss(member) for member in group_members(pid)) / 1024
    return found


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
