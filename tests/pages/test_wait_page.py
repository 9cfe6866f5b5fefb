"""What the run page says of a wait, to whom; and its lines, run as they stand against a server that checks them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from flows.definition.compiler import compile_source
from flows.definition.models_webhook import WebhookTrigger
from flows.models import Flow, Release
from flows.signatures import Delivery, prove
from resources.access import Actor
from runs import snippets
from runs.actions import start_run
from runs.models import Run
from runs.outbound import signing
from runs.worker import Worker
from tests.pages import seed
from tests.pages.test_browser import axe, lively, visit  # noqa: F401  fixtures

SOURCE = """
flow: waits
title: Wait for the outside
folder: payments
steps:
  - id: several
    wait:
      first:
        called: {callback: {secret: hook}}
        paid: {event: {name: shop.paid, match: "${{ event.body.order == '<1>' }}"}}
        late: {until: 2100-01-01T00:00:00Z}
  - id: call
    needs: []
    wait: {callback: {timeout: 1h}}
  - id: each
    needs: []
    for_each: {items: [1, 2]}
    wait: {event: {name: each, timeout: 1h}}
"""


def waiting_run() -> str:
    plan, problems = compile_source(SOURCE)
    assert plan is not None, problems
    flow = Flow.objects.create(slug=plan.flow, title=plan.title, folder=plan.folder)
    made = {"plan_json": plan.to_json(), "checksum": plan.checksum, "language": 1}
    flow.live = Release.objects.create(flow=flow, version="1.0.0", source=SOURCE, revision=1, **made)
    flow.save(update_fields=["live"])
    run: str = start_run(actor=Actor.system("test"), flow=flow, input={}).run.pk
    worker, end = Worker("w"), time.monotonic() + 20
    while Run.objects.get(pk=run).status != "waiting" and time.monotonic() < end:
        worker.work_once()
    return run


def seen(role: str, run: str, step: str) -> str:
    client = Client()
    client.force_login(seed.person(f"{role}-{step}", roles=(role,), folder="payments"))
    answer = client.get(f"/runs/{run}?step={step}")
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.fixture
def run(transactional_db: None) -> str:
    return waiting_run()


def test_who_may_answer_is_told_how(run: str) -> None:
    page = seen("operator", run, "several")
    for said in ("Waits for the first of 3", "shop.paid", "&#x27;&lt;1&gt;&#x27;", "secret <code>hook</code>",
                 "WEBHOOK_SECRET", "ORCHESTRA_TOKEN", "/api/v1/events", "JavaScript"):  # fmt: skip
        assert said in page, said
    assert f"/callbacks/{run}-" in page and "data-copy" in page
    assert f"/callbacks/{run}-" in seen("operator", run, "call")


def test_who_may_only_look_is_told_for_what_and_not_how(run: str) -> None:
    for step, said in (("several", "Waits for the first of 3"), ("call", "Waits for a call from outside")):
        page = seen("viewer", run, step)
        assert said in page and f"/callbacks/{run}-" not in page and "curl" not in page


def test_the_page_of_a_waiting_step_is_accessible_and_fits(
    visit: Callable[..., Any],  # noqa: F811
    lively: dict[str, Any],  # noqa: F811
) -> None:
    run, problems = waiting_run(), []
    for size in ("wide", "phone"):
        page = visit(f"/runs/{run}?step=several", size=size)
        page.locator("#side summary").nth(1).click()
        problems += [f"{size}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{size}: wider than the screen")
        if shots := os.environ.get("SHOTS"):
            page.screenshot(path=f"{shots}/wait-{size}.png", full_page=True)
        problems += page.complaints
    assert problems == []


# -- the lines ---------------------------------------------------------------------------------------------------
SECRET = signing.new_secret(bytes(range(32)))


@pytest.fixture
def outside() -> Iterator[tuple[str, list[Any]]]:
    """(address, what was posted there: (path, headers, body))."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def run_line(language: str, text: str) -> None:
    command = {
        "Shell": ["bash", "-ec"],
        "Python": [sys.executable, "-c"],
        "JavaScript": ["node", "--input-type=module", "-e"],
    }[language]
    env = {"PATH": os.environ["PATH"], "WEBHOOK_SECRET": SECRET, "ORCHESTRA_TOKEN": "t0ken", "HOME": str(Path.home())}
    done = subprocess.run([*command, text], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("language", ["Shell", "Python", "JavaScript"])
def test_the_lines_of_a_wait_do_what_they_say(language: str, outside: tuple[str, list[Any]]) -> None:
    url, got = outside
    run_line(language, snippets.of_callback(f"{url}/callbacks/x", signed=False)[language])
    run_line(language, snippets.of_callback(f"{url}/callbacks/y", signed=True)[language])
    run_line(language, snippets.of_event(url, "shop.paid", "it's")[language])
    (plain, headers, body), (_, marks, signed_body), (events, bearer, event) = got
    assert (plain, headers["content-type"], json.loads(body)) == ("/callbacks/x", "application/json", {})
    hook = WebhookTrigger(verify="standard-webhooks", secret="hook")
    prove(hook, Delivery(marks, {}, signed_body), [SECRET], time.time())
    assert (events, bearer["authorization"]) == ("/api/v1/events", "Bearer t0ken")
    sent = json.loads(event)
    assert {**sent, "id": bool(sent["id"])} == {"name": "shop.paid", "id": True, "folder": "it's", "body": {}}
