"""Marks (n) and (o): many http steps at once, and what a worker imports before it can work."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from resources.connections import create_connection
from runs.actions import start_run
from tests import services
from tests.bench.tools import SYSTEM, flow, wait_for

CALLS = """flow: bench-calls
steps:
  - id: list
    function: {code: "[i for i in range(%d)]"}
  - id: call
    for_each: {items: "${{ steps.list.output }}"}
    http: {connection: bench-world, method: POST, path: /deploy, query: {delay_ms: 100}, json: {n: "${{ item }}"}}
    timeout: 60s
"""
#: what a worker imports before its first step
WORKER = "import django; django.setup(); import runs.serve, runs.worker, flows.steps.registry"


def calls(scale: float) -> dict[str, str]:
    """A fan-out to the demo world, which answers each call after 100 ms."""
    count = int(1000 * scale)
    with services.world() as url:
        settings = {"base_url": url, "allow_networks": ["127.0.0.0/8"]}
        create_connection(actor=SYSTEM, name="bench-world", kind="http", settings=settings)
        run = start_run(actor=SYSTEM, flow=flow(CALLS % count), input={}).run
        took = (wait_for([run.pk], 300)[0].ended_at or 0) - run.created_at
    return {"steps": str(count), "wall": f"{took:.1f} s", "steps/s": f"{count / took:.0f}"}


def imports(scale: float) -> dict[str, str]:
    """A new interpreter each time; the files are in the disk's cache after the first."""
    took = []
    for _ in range(max(3, int(5 * scale)) + 1):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", WORKER], check=True, env=os.environ)
        took.append(time.monotonic() - begin)
    bare = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    bare = time.monotonic() - bare
    return {"worker": f"{statistics.median(took[1:]):.2f} s", "bare Python": f"{bare:.2f} s"}
