"""The whole program with workers under the restricted role: runs of every family that acts come to their ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.engine.databases import WORKER_ROLE, worker_url
from tests.families.models import Say, provider
from tests.role.program import Program
from tests.services import Postgres
from tests.stack import Stack

pytestmark = [pytest.mark.stack]

LEAF = """
flow: leaf
folder: payments
steps:
  - {id: think, function: {code: "n + 1", input: {n: 1}}}
"""

WIDE = """
flow: wide
folder: payments
input: {type: object}
budget: {tokens: 100000}
steps:
  - {id: pay, http: {connection: world, method: POST, path: /deploy, json: {n: 1}}, timeout: 30s}
  - {id: count, kv: {increment: {key: runs, ttl: 1d}}}
  - {id: large, function: {code: "['x' * 1000] * 200"}}
  - {id: tell, notify: {people: {users: [author], groups: [release-managers]}, title: "Paid ${{ run.id }}", text: Done}}
  - {id: child, call: {flow: leaf}}
  - {id: nap, sleep: 1s}
  - {id: rows, db: {connection: shop, query: "SELECT 7 AS n"}, timeout: 30s}
  - {id: model, llm: {connection: brain, prompt: How bad?}, timeout: 30s}
  - {id: look, search: {query: leaf, in: [flows, runs, resources], hydrate: true}, timeout: 30s}
  - {id: each, for_each: {items: "${{ [1, 2, 3] }}"}, function: {code: "n * 2", input: {n: "${{ item }}"}}}
  - {id: work, job: {labels: [vm], input: {n: 2}}}
  - {id: named, wait: {event: {name: paid, match: "${{ event.body.n == 1 }}", timeout: 1h}}}
  - {id: called, wait: {callback: {timeout: 1h}}}
  - {id: ask, approval: {title: Deploy it, protects: [deploy], reviewers: {groups: [release-managers]}}}
  - id: deploy
    irreversible: true
    timeout: 30s
    http: {connection: world, method: POST, path: /deploy, json: {n: 2}}
output: {count: "${{ steps.count.output }}", child: "${{ steps.child.output }}", job: "${{ steps.work.output.result }}"}
"""

#: a newer run of a key ends the older one, which a worker says in the audit log
REPLACED = """
flow: replaced
folder: payments
concurrency: {key: one, limit: 1, on_conflict: cancel_running}
steps:
  - {id: called, wait: {callback: {timeout: 1h}}}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Iterator[Program]:
    url = postgres_server.new_database()
    env = {"WORKER_DATABASE_URL": worker_url(url), "START_SECONDS": "300"}
    with Stack(tmp_path_factory.mktemp("role"), url, workers=3, env=env, start_seconds=300.0) as stack:
        yield Program(stack)


def connect(program: Program, model: str, server: Postgres) -> None:
    """The connections that `wide` names."""
    parts = urlsplit(server.url)
    program.ask("/secrets/shop-password", {"value": parts.password}, method="PUT")
    there = {"host": "127.0.0.1", "allow_networks": ["127.0.0.0/8"]}
    shop = there | {"port": parts.port, "database": parts.path[1:], "username": parts.username, "tls": "off"}
    brain = {"base_url": model, "model": "small", "allow_networks": ["127.0.0.0/8"]}
    limited = {"limits": {"concurrency": 2}}
    for name, kind, settings in (
        ("shop", "postgres", {**shop, "secret": "shop-password", **limited}),
        ("brain", "llm", brain),
    ):
        program.ask("/connections", {"name": name, "kind": kind, "settings": settings})


def work(program: Program) -> None:
    """A runner takes the job that is in line, and does it."""
    made = program.ask("/runner-tokens", {"name": "vm", "folder": "payments"})
    job: Any = program.until(
        lambda: program.ask("/runner/claim", {"name": "vm", "labels": ["vm"], "wait": 1}, token=made["token"])["job"]
    )
    said = {"fence": job["fence"], "output": {"n": 4}}
    program.ask(f"/runner/jobs/{job['id']}/complete", said, token=made["token"])


def approve(program: Program, run: str) -> None:
    def mine() -> list[Any]:
        return [one for one in program.ask("/approvals?status=open", person="reviewer")["items"] if one["run"] == run]

    (request,) = program.until(mine)
    said = {"decision": "approve", "digest": request["digest"], "comment": "Seen."}
    program.ask(f"/approvals/{request['id']}/decisions", said, person="reviewer")


def call_back(program: Program, run: str, step: str) -> None:
    token = "SELECT token FROM runs_waittoken WHERE run_id = %s AND step = %s"
    with psycopg.connect(program.stack.database_url) as session:
        found = session.execute(token, [run, step]).fetchone()
    assert found is not None
    program.ask(f"/callbacks/{found[0]}", {"fine": True})


def test_runs_of_every_family_come_to_their_ends(program: Program, postgres_server: Postgres) -> None:
    with provider(Say("Not bad.", tokens=(10, 5))) as model:
        connect(program, model.url, postgres_server)
        program.release(LEAF)
        run = program.start(program.release(WIDE))
        work(program)
        program.until(lambda: program.step(run, "named") == "waiting")
        program.ask("/events", {"name": "paid", "id": "1", "folder": "payments", "body": {"n": 1}})
        program.until(lambda: program.step(run, "called") == "waiting")
        call_back(program, run, "called")
        approve(program, run)
        found = program.ended(run)
    assert found["status"] == "succeeded", found["error"]
    assert {step["status"] for step in found["steps"]} == {"succeeded"}
    assert found["output"]["job"] == {"n": 4}
    assert found["usage"]["input_tokens"] == 10
    assert not [line for line in program.stack.lines if "permission denied" in line]
    with psycopg.connect(program.stack.database_url) as session:
        by = session.execute(
            "SELECT DISTINCT usename, application_name FROM pg_stat_activity WHERE datname = current_database()"
        )
        users = {name for name, application in by.fetchall() if application == "orchestra"}
    assert users == {WORKER_ROLE, "orchestra"}


def test_a_worker_that_cancels_a_run_says_so_in_an_audit_log_that_holds(program: Program) -> None:
    slug = program.release(REPLACED)
    first = program.start(slug)
    program.until(lambda: program.step(first, "called") == "waiting")
    second = program.start(slug)
    assert program.ended(first)["status"] == "cancelled"
    program.until(lambda: program.step(second, "called") == "waiting")
    (entry,) = program.ask(f"/audit?action=run.cancel&object_id={first}")["items"]
    assert entry["actor"] == "concurrency"
    assert program.ask("/audit/verification")["whole"] is True
    program.stack.manage("verify_audit")  # it fails for a log that is not whole


def test_no_process_of_the_cluster_knows_the_owner_s_password(program: Program) -> None:
    secret = (urlsplit(program.stack.database_url).password or "?").encode()
    clusters = {"work": False, "web": True}
    for name, knows in clusters.items():
        environment = Path(f"/proc/{program.stack.children()[name]}/environ").read_bytes()
        assert (secret in environment) is knows, name
