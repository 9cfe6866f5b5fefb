"""Takes the figures inside the environment of a running stack; prints one line of JSON."""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.db import transaction  # noqa: E402  needs the apps

from approvals.actions import decide_request  # noqa: E402
from approvals.models import ApprovalRequest  # noqa: E402
from flows.models import Flow  # noqa: E402
from resources.access import Actor  # noqa: E402
from resources.secrets import set_secret  # noqa: E402
from runs.actions import start_run  # noqa: E402
from runs.models import RunEvent  # noqa: E402
from tests.bench import families, feed, search  # noqa: E402
from tests.bench import scale as large  # noqa: E402
from tests.bench.tools import SYSTEM, chain, flow, quantile, wait_for  # noqa: E402

SECRET = "bench-secret-0123456789"
CHAIN = chain("bench-chain", 10)
FAN = """flow: bench-fan
steps:
  - id: list
    function: {code: "[i for i in range(100)]"}
  - id: each
    for_each: {items: "${{ steps.list.output }}"}
    function: {code: "x * 2", input: {x: "${{ item }}"}}
  - id: join
    function: {code: "sum(xs)", input: {xs: "${{ steps.each.output }}"}}
"""
GATE = """flow: bench-gate
steps:
  - id: ask
    approval: {title: Go on, protects: [act], reviewers: {users: [reviewer]}}
  - id: act
    function: {code: "1"}
"""
HOOK = """flow: bench-hook
triggers:
  - webhook: {name: in, verify: github, secret: bench, input: {n: "${{ trigger.body.n }}"}}
input: {type: object, properties: {n: {type: integer}}}
steps:
  - id: one
    function: {code: "n", input: {n: "${{ input.n }}"}}
"""


def _ten() -> Flow:
    return Flow.objects.select_related("live").filter(slug="bench-chain").first() or flow(CHAIN)


def many_queued(scale: float) -> dict[str, str]:
    ten, count = _ten(), int(500 * scale)
    rates = []
    for _ in range(3):
        with transaction.atomic():  # all of them appear at once
            runs = [start_run(actor=SYSTEM, flow=ten, input={}).run.pk for _ in range(count)]
        began = time.time()
        ended = wait_for(runs)
        rates.append(count * 10 / (max(r.ended_at or 0 for r in ended) - began))
    return {"steps/s": f"{sorted(rates)[1]:.0f}", "of": "3 rounds, median"}


def one_at_idle(scale: float) -> dict[str, str]:
    ten, took = _ten(), []
    for _ in range(int(100 * scale)):
        run = start_run(actor=SYSTEM, flow=ten, input={}).run
        took.append((wait_for([run.pk])[0].ended_at or 0) - run.created_at)
        time.sleep(0.02)
    return {"p50": quantile(took, 0.5), "p95": quantile(took, 0.95)}


def fan_out(scale: float) -> dict[str, str]:
    fan, took = flow(FAN), []
    for _ in range(max(3, int(20 * scale))):
        run = start_run(actor=SYSTEM, flow=fan, input={}).run
        took.append((wait_for([run.pk])[0].ended_at or 0) - run.created_at)
    return {"p50": quantile(took, 0.5), "max": quantile(took, 1.0)}


def decision(scale: float) -> dict[str, str]:
    from django.contrib.auth.models import User

    gate, reviewer, took = flow(GATE), User.objects.get(username="reviewer"), []
    for _ in range(int(100 * scale)):
        run = start_run(actor=SYSTEM, flow=gate, input={}).run
        request = None
        while request is None:
            request = ApprovalRequest.objects.filter(run=run, status="open").first()
            time.sleep(0.005)
        time.sleep(0.02)
        actor = Actor.of_user(reviewer)
        decide_request(actor=actor, request_id=request.pk, verdict="approve", digest=request.digest, comment="")
        committed = time.time()
        wait_for([run.pk])
        took.append(max(0.0, RunEvent.objects.get(run=run, type="step.started", step="act").at - committed))
    return {"p50": quantile(took, 0.5), "p99": quantile(took, 0.99)}


def post(connection: http.client.HTTPConnection, number: int) -> str:
    body = json.dumps({"n": number}).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-hub-signature-256": signature}
    connection.request("POST", "/hooks/bench-hook/in", body, headers)
    answer = connection.getresponse()
    data = json.loads(answer.read())
    if answer.status != 202:
        sys.exit(f"the hook answered {answer.status}: {data}")
    run: str = data["run"]
    return run


def webhook(scale: float) -> dict[str, str]:
    set_secret(actor=SYSTEM, name="bench", value=SECRET)
    flow(HOOK)
    host = os.environ["BASE_URL"].removeprefix("http://")
    connection, took = http.client.HTTPConnection(host), []
    for number in range(int(100 * scale)):
        began = time.time()
        run = post(connection, number)
        took.append((wait_for([run])[0].ended_at or 0) - began)
    clients, each = 16, int(100 * scale)
    runs: list[str] = []

    def client(first: int) -> None:
        mine = http.client.HTTPConnection(host)
        for number in range(first, first + each):
            runs.append(post(mine, number))

    threads = [threading.Thread(target=client, args=(1000 + i * each,)) for i in range(clients)]
    began = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(runs) / (max(r.ended_at or 0 for r in wait_for(runs)) - began)
    return {"p50": quantile(took, 0.5), "p99": quantile(took, 0.99), "runs/s at 16 clients": f"{rate:.0f}"}


MEASURES: dict[str, Callable[[float], dict[str, Any]]] = {
    "a": many_queued,
    "b": one_at_idle,
    "c": fan_out,
    "d": decision,
    "e": webhook,
    "f": feed.measure,
    "g": large.parked,
    "i": many_queued,
    "j": large.long_chain,
    "k": large.killed,
    "h": large.finished,
    "n": families.calls,
    "o": families.imports,
    "p": search.found,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(MEASURES))
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    print(json.dumps({mark: MEASURES[mark](given.scale) for mark in given.only.split(",")}))
