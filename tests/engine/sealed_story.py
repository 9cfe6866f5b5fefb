"""Runs that put what people gave them everywhere a run can: for tests of payloads at rest, on any database."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from approvals.actions import decide_request
from approvals.models import ApprovalRequest
from resources.access import Actor
from runs import clock, store, waits
from runs.actions import deliver
from runs.jobs import claims, logs, reports, tokens
from runs.models import Run, Work
from runs.named.delivery import deliver_event
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, make_flow
from tests.engine.test_store_queue import drain

#: what nobody should find in the database
WORD = "walrus7q"

DIARY = """
flow: diary
input: {type: object, properties: {word: {type: string}}}
concurrency: {key: "${{ input.word }}", limit: 2, on_conflict: queue}
triggers:
  - webhook: {name: hook, verify: none, input: {word: "${{ trigger.body.word }}"}}
  - manual: {}
defaults: {timeout: 10s, retry: {max_attempts: 1}}
steps:
  - id: think
    function: {code: "print(w)\\n{'said': w}", input: {w: "${{ input.word }}"}}
    fallback: {last_good: true}
  - id: keep
    kv: {set: {key: note, value: "${{ steps.think.output.said }}"}}
  - id: each
    for_each: {items: ["${{ input.word }}", b]}
    function: {code: "n", input: {n: "${{ item }}"}}
  - id: child
    call: {flow: echo, input: {word: "${{ input.word }}"}}
  - id: heard
    wait: {event: {name: told, timeout: 1h}}
  - id: back
    wait: {callback: {timeout: 1h}}
  - id: fix
    job: {labels: [vm], input: {word: "${{ input.word }}"}, lease: 60s}
  - id: ask
    approval:
      title: May ${{ input.word }} go
      summary: About **${{ input.word }}**
      protects: [tell]
      form: {type: object, properties: {why: {type: string}}}
  - id: tell
    notify: {people: {users: [rita]}, title: "${{ input.word }} is here", text: "${{ input.word }} says hello"}
  - id: fail
    function: {code: "raise_(w)", input: {w: "${{ input.word }}"}}
output: "${{ steps.each.output }}"
"""
ECHO = """
flow: echo
input: {type: object, properties: {word: {type: string}}}
steps:
  - {id: say, function: {code: "w", input: {w: "${{ input.word }}"}}}
output: "${{ steps.say.output }}"
"""


def tell(word: str = WORD) -> list[str]:
    """The runs of a story, each as far as it goes. Every kind of payload of theirs has `word` in it."""
    get_user_model().objects.get_or_create(username="rita", is_superuser=True)
    make_flow(ECHO)
    run = begin(make_flow(DIARY), word=f"{word}-input")
    drain(Worker("w"))
    deliver_event(actor=SYSTEM, name="told", key="e1", body={"word": f"{word}-event"})
    drain(Worker("w"))
    _call_back(run, {"word": f"{word}-callback"})
    drain(Worker("w"))
    _do_job(word)
    drain(Worker("w"))
    _decide(run, word)
    drain(Worker("w"))
    answer = Client().post("/hooks/diary/hook", json.dumps({"word": f"{word}-hook"}), content_type="application/json")
    assert answer.status_code == 202, answer.content
    drain(Worker("w"))
    return list(Run.objects.order_by("pk").values_list("pk", flat=True))


def _call_back(run: str, payload: Any) -> None:
    loaded = store.load(run)
    assert loaded is not None
    token = waits.token_of(loaded.plan, run, "back", -1, 1)
    assert deliver(token=token, payload=payload, actor=SYSTEM).outcome == "accepted"


def _do_job(word: str) -> None:
    token = tokens.create_runner_token(actor=SYSTEM, name="t", folder="", labels=())[0]
    job = claims.claim_job(runner=claims.present_runner(token=token, name="vm", labels=("vm",)))
    assert job is not None
    reports.heartbeat(token=token, job_id=job.pk, fence=job.fence, message=f"{word}-progress", percent=5)
    logs.append(job=job, fence=job.fence, offset=0, data=f"{word}-log \xff".encode())
    reports.complete_job(token=token, job_id=job.pk, fence=job.fence, output={"word": f"{word}-result"})


def _decide(run: str, word: str) -> None:
    request = ApprovalRequest.objects.get(run_id=run, status="open")
    person = Actor.of_user(get_user_model().objects.get(username="rita"))
    decide_request(
        actor=person, request_id=request.pk, verdict="approve", digest=request.digest, comment=f"{word}-comment",
        form={"why": f"{word}-form"},
    )  # fmt: skip


# -- what lies there ---------------------------------------------------------------------------------------------
def in_tables(word: str = WORD) -> set[str]:
    """Every table.column, of all there are, in which some row has the word, also where it is base64 of it."""
    found = set()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description or ()]
            for row in cursor.fetchall():
                found |= {f"{table}.{name}" for name, value in zip(names, row, strict=True) if _has(value, word)}
    return found


def _has(value: object, word: str) -> bool:
    text = bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
    return any(form in text for form in _forms(word))


def _forms(word: str) -> Iterator[str]:
    yield word
    for shift in range(3):  # wherever it may begin
        whole = base64.b64encode(b" " * shift + word.encode()).decode()
        yield whole[4:-4] if shift else whole[:-4]


def in_file(word: str = WORD) -> bool:
    """Of SQLite: the file itself and what was not taken into it yet."""
    path = Path(str(connection.settings_dict["NAME"]))
    files = [path, path.with_name(path.name + "-wal")]
    return any(word.encode() in file.read_bytes() for file in files if file.exists())


def vacuum() -> None:
    """Nothing that was there before is left in SQLite's file."""
    connection.close()
    with closing(sqlite3.connect(str(connection.settings_dict["NAME"]))) as raw:
        raw.execute("VACUUM")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def due_now() -> None:
    Work.objects.filter(owner=None).update(wake_at=clock.now() - 1)
