"""The whole program: calls that wait for their run, and what they do not stand in the way of."""

from __future__ import annotations

import http.client
import json
import select
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.stack import Stack

FLOW = """\
flow: {slug}
title: Answers
input: {{type: object}}
triggers:
  - webhook: {{name: hook, verify: none, respond: {respond}, input: {{n: "${{{{ trigger.body.n }}}}"}}}}
steps:
  - {step}
output: {{twice: "${{{{ steps.work.output }}}}"}}
"""
WORKS = '{id: work, function: {code: "n * 2", input: {n: "${{ input.n }}"}}}'
BREAKS = '{id: work, function: {code: "n / 0", input: {n: "${{ input.n }}"}}}'
RESTS = "{id: work, sleep: 60s}"


def ask(url: str, body: Any, *, token: str = "", kind: str = "application/json") -> tuple[int, Any]:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"Content-Type": kind, **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@dataclass(frozen=True)
class Served:
    url: str
    port: int
    token: str

    def get(self, path: str) -> Any:
        request = urllib.request.Request(f"{self.url}/api/v1{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    env = {"WEB_THREADS": "2", "DEMO": "1"}
    with Stack(tmp_path_factory.mktemp("served"), workers=2, env=env) as served:
        token = served.manage("create_token", "admin").strip()
        for slug, respond, step in (
            ("works", "{wait: 30s}", WORKS),
            ("shapes", '{wait: 30s, output: {v: "${{ run.output.twice }}", of: "${{ trigger.body.n }}"}}', WORKS),
            ("breaks", "{wait: 30s}", BREAKS),
            ("rests", "{wait: 300ms}", RESTS),
            ("rests-long", "{wait: 60s}", RESTS),
        ):
            api = f"{served.url}/api/v1/flows"
            source = FLOW.format(slug=slug, respond=respond, step=step)
            assert ask(api, source, token=token, kind="application/yaml")[0] == 201
            made = ask(f"{api}/{slug}/releases", {"version": "1.0.0", "live": True}, token=token)
            assert made[0] == 201, made
        yield Served(served.url, served.port, token)


def call(stack: Served, slug: str, n: int = 4) -> tuple[int, Any]:
    return ask(f"{stack.url}/hooks/{slug}/hook", {"n": n})


def test_a_call_is_answered_with_what_its_run_gave(stack: Served) -> None:
    assert call(stack, "works") == (200, {"twice": 8})
    assert call(stack, "shapes") == (200, {"v": 8, "of": 4})


def test_a_run_that_failed_is_told_by_its_class(stack: Served) -> None:
    status, told = call(stack, "breaks")
    assert (status, told["error"]["code"], told["error"]["details"]["class"]) == (502, "run_failed", "code")


def test_a_run_that_takes_too_long_is_told_by_its_address(stack: Served) -> None:
    status, told = call(stack, "rests")
    assert (status, told["status"], told["url"]) == (202, "started", f"{stack.url}/runs/{told['run']}")


def test_many_that_wait_leave_the_health_page_and_other_calls_alone(stack: Served) -> None:
    waiting = [http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60) for _ in range(12)]
    for connection in waiting:
        connection.request("POST", "/hooks/rests-long/hook", b'{"n": 1}', {"Content-Type": "application/json"})
    end = time.monotonic() + 60
    while len(stack.get("/runs?flow=rests-long&limit=50")["items"]) < 12:  # all of them have begun, and wait
        assert time.monotonic() < end
        time.sleep(0.1)
    with urllib.request.urlopen(f"{stack.url}/healthz", timeout=20) as health:
        assert health.status == 200
    assert call(stack, "works") == (200, {"twice": 8})
    assert select.select([connection.sock for connection in waiting], [], [], 0)[0] == []  # nobody was answered yet
    for connection in waiting:
        connection.close()


def test_the_log_of_deliveries_is_written_by_itself(stack: Served) -> None:
    call(stack, "breaks")
    end = time.monotonic() + 30
    while not (seen := stack.get("/flows/breaks/hooks")["items"][0]["deliveries"]):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert {delivery["status"] for delivery in seen} == {"started"}
