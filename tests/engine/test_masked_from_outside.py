"""Who was sent a secret sends it back: in the answer to a wait, in an event, in a delivery. No run keeps it."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import quote

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from flows.definition.bindings import Place
from flows.models import Flow
from resources import artifacts, oauth_kept, secrets
from resources.backends.errors import Unreachable
from resources.masking import MASK
from resources.models import Artifact, Connection
from resources.secrets import set_secret
from runs import masks, tokens
from runs.models import HookDelivery, Run, RunEvent, StepRun, WaitToken, Work
from runs.named.delivery import deliver_event
from runs.named.triggers import on_live_changed
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow
from tests.engine.test_store_queue import drain

VALUE = "kx9-Zq7/+secret=of the peer"
IN_BASE64 = base64.b64encode(f"u:{VALUE}".encode()).decode()
ECHOED = {
    "as": VALUE, "in": f"Bearer {VALUE}.", "base64": IN_BASE64,
    "hex": VALUE.encode().hex(), "deep": [{VALUE: 1}], "json": json.dumps({"token": VALUE}),
}  # fmt: skip
#: what must hold after `waits` fit the event or the call
FLOW = """
flow: echo
{triggers}
defaults: {{timeout: 5s}}
steps:
  - id: answered
    wait: {wait}
  - id: call
    needs: [answered]
    if: ${{{{ false }}}}
    http: {{connection: peer, method: GET, path: /}}
output: {{got: "${{{{ steps.answered.output }}}}"}}
"""
CALLBACK = "{callback: {timeout: 1h}}"
EVENT = '{event: {name: told, match: "${{ event.body.n == 1 }}", timeout: 1h}}'
HOOK = "triggers: [{webhook: {verify: none, name: in}}, {event: {name: told}}]"


def flow_of(wait: str = CALLBACK, triggers: str = "") -> Flow:
    auth = {"type": "bearer", "secret": "peer-key"}
    set_secret(actor=SYSTEM, name="peer-key", value=VALUE)
    Connection.objects.create(name="peer", kind="http", settings={"base_url": "https://peer.example", "auth": auth})
    return make_flow(FLOW.format(wait=wait, triggers=triggers))


def kept(run: str) -> str:
    """Everything that is stored of it."""
    rows = [
        Run.objects.filter(pk=run).values("input", "trigger", "output", "error", "control"),
        StepRun.objects.filter(run=run).values("state", "output"),
        RunEvent.objects.filter(run=run).values("data"),
        WaitToken.objects.filter(run_id=run).values("answer", "response"),
        Artifact.objects.filter(run_id=run).values("name"),
    ]
    return json.dumps([list(found) for found in rows], default=str)


def nothing_of_it(run: str) -> bool:
    text = kept(run)
    return not any(form in text for form in (VALUE, VALUE.encode().hex(), IN_BASE64, json.dumps(VALUE)[1:-1]))


def call(run: str, body: Any) -> Any:
    raw = json.dumps(body).encode()
    return Client().post(f"/callbacks/{tokens.make(run, 0, -1, 1)}", raw, content_type="application/json")


@pytest.mark.parametrize("early", [False, True])
def test_a_callback_that_echoes_a_secret_leaves_none_of_it(database: str, early: bool) -> None:
    run = begin(flow_of())
    if not early:
        drain(Worker("w"))
    assert call(run, {**ECHOED, "n": 1, "kept": "as it is"}).status_code == 202
    drain(Worker("w"))
    row = Run.objects.get(pk=run)
    assert row.status == "succeeded", row.error
    got = row.output["got"]
    assert (got["as"], got["in"], got["kept"], got["n"]) == (MASK, f"Bearer {MASK}.", "as it is", 1)
    assert got["deep"] == [{MASK: 1}] and nothing_of_it(run)
    check_fold(run)


def test_an_event_that_echoes_a_secret_is_matched_and_leaves_none_of_it(database: str) -> None:
    run = begin(flow_of(EVENT))
    drain(Worker("w"))
    deliver_event(actor=SYSTEM, name="told", key="e", body={**ECHOED, "n": 1})
    drain(Worker("w"))
    row = Run.objects.get(pk=run)
    assert row.status == "succeeded" and row.output["got"]["body"]["as"] == MASK
    assert nothing_of_it(run)
    check_fold(run)


def test_what_a_schema_refuses_is_told_without_the_secret(database: str) -> None:
    schema = "schema: {type: object, additionalProperties: {type: integer}}"
    run = begin(flow_of(EVENT.replace("timeout", f"{schema}, timeout")))
    drain(Worker("w"))
    deliver_event(actor=SYSTEM, name="told", key="e", body={"n": 1, "as": VALUE})
    drain(Worker("w"))
    assert RunEvent.objects.filter(run=run, type="event.refused").exists() and nothing_of_it(run)


def test_a_started_run_has_none_of_it(database: str) -> None:
    flow = flow_of(triggers=HOOK)
    assert flow.live is not None
    on_live_changed(flow=flow, plan=flow.live.plan)
    url = reverse("hook", args=["echo", "in"])
    answer = Client().post(url, json.dumps(ECHOED).encode(), content_type="application/json")
    assert answer.status_code == 202, answer.content
    (started,) = deliver_event(actor=SYSTEM, name="told", key="e", body=ECHOED).started
    for run in (answer.json()["run"], started.run or ""):
        assert Run.objects.get(pk=run).trigger["body"]["in"] == f"Bearer {MASK}." and nothing_of_it(run)
        drain(Worker("w"))
        check_fold(run)
    assert not HookDelivery.objects.filter(reason__contains="secret").exists()


def test_a_file_of_a_delivery_has_none_of_it(database: str) -> None:
    flow_of(triggers=HOOK)
    file = SimpleUploadedFile("a.txt", f"the key is {VALUE}".encode(), content_type="text/plain")
    answer = Client().post(reverse("hook", args=["echo", "in"]), {"file": file})
    assert answer.status_code == 202, answer.content
    row = Artifact.objects.get(run_id=answer.json()["run"])
    assert artifacts.read(row) == f"the key is {MASK}".encode()


def test_an_answer_that_cannot_be_looked_at_now_is_not_taken_and_an_event_waits(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(name: str) -> list[str]:
        raise Unreachable("The store of secrets does not answer.")

    run = begin(flow_of("{first: {c: {callback: {}}, e: {event: {name: told}}}, timeout: 1h}"))
    drain(Worker("w"))
    with monkeypatch.context() as patched:
        for name in ("reveal", "reveal_all"):
            patched.setattr(secrets, name, away)
        assert call(run, ECHOED).status_code == 503
        deliver_event(actor=SYSTEM, name="told", key="e", body={**ECHOED, "n": 1})
        drain(Worker("w"))
        assert Run.objects.get(pk=run).status == "waiting" and nothing_of_it(run)
    Work.objects.filter(run_id=run).update(wake_at=0.0)
    drain(Worker("w"))
    assert Run.objects.get(pk=run).output["got"]["value"]["body"]["as"] == MASK
    check_fold(run)


def test_a_flow_that_knows_no_secret_reads_none(database: str, django_assert_num_queries: Any) -> None:
    plan = make_flow("flow: plain\nsteps: [{id: a, sleep: 1s}]").live.plan  # type: ignore[union-attr]
    with django_assert_num_queries(0):
        masker = masks.of_plan(plan, Place("plain"))
    assert masker.tree(VALUE) == VALUE


def test_a_token_that_the_peer_gave_is_masked_wherever_it_comes_back_until_it_has_expired(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = flow_of()
    peer = Connection.objects.get(name="peer")
    auth = {"type": "oauth2", "token_url": "https://peer.example/token", "client_id": "me", "secret": "peer-key"}
    Connection.objects.update(settings={**peer.settings, "auth": auth})
    token = "a/token+of=the.peer-0815"
    oauth_kept.note(peer.pk, token, 600)  # by a worker, before it sends it
    echoed = {"as": token, "base64": base64.b64encode(f"x{token}".encode()).decode(), "url": quote(token, safe="")}
    run = begin(flow)
    drain(Worker("w"))
    assert call(run, {**echoed, "json": json.dumps({"t": token})}).status_code == 202
    drain(Worker("w"))
    row = Run.objects.get(pk=run)
    assert row.status == "succeeded" and row.output["got"]["as"] == MASK
    assert not any(form in kept(run) for form in echoed.values()), row.output
    assert masks.of_run(run).text(token) == MASK
    late = time.time() + 600 + 61
    monkeypatch.setattr("resources.oauth_kept.time.time", lambda: late)
    assert masks.of_run(run).text(token) == token
