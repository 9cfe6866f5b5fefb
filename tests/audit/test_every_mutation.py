"""Every operation of the API and every form of the pages that changes something leaves an entry in the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import transaction
from django.test import Client

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources.models import AuditEntry
from runs.actions import start_run
from runs.jobs.tokens import create_runner_token
from runs.models import StepRun
from tests.access import place as stage
from tests.access.test_matrix import forms, operations
from tests.pages import seed

pytestmark = [pytest.mark.db_matrix, pytest.mark.django_db]
SENSITIVE: Final = """\
flow: cards
folder: pay/eu
input: {type: object, properties: {card: {type: string, x-sensitive: true}}}
steps: [{id: rest, sleep: 1h}]
"""
#: leave none, and why
EXCUSED: Final = {
    "POST /lint": "changes nothing",
    "POST /flows/check": "changes nothing",
    "POST /dead-letters/count": "changes nothing: how many a replay would take",
    "PUT /uploads/{upload_id}": "a part of an upload; what is made of it is audited",
    "POST /uploads": "the place for an upload; what is made of it is audited",
    "DELETE /uploads/{upload_id}": "parts that became nothing",
    "POST /notices/read": "what somebody has read is theirs alone",
    "POST /notices/{notice_id}/read": "what somebody has read is theirs alone",
    "POST /notices/<notice_id>/read": "what somebody has read is theirs alone",
    "POST /login": "signs in; refused tries are counted, and the session has its own table",
    "POST /logout": "signs out",
    "POST /hooks/<slug>/<trigger>": "a start by a trigger is in the history of its run and in the list of deliveries",
    "POST /callbacks/<token>": "an answer is in the history of its run",
    "POST /runner/claim": "work of a runner is in the history of the run",
    "POST /runner/jobs/{job_id}/complete": "work of a runner is in the history of the run",
    "POST /runner/jobs/{job_id}/fail": "work of a runner is in the history of the run",
    "POST /runner/jobs/{job_id}/heartbeat": "work of a runner is in the history of the run",
    "POST /runner/jobs/{job_id}/logs": "work of a runner is in the history of the run",
    "PUT /runner/jobs/{job_id}/artifacts/{name}": "work of a runner: a resource names its run",
}
#: done before, in the same transaction, so that there is something to change
FIRST: Final[dict[str, tuple[str, ...]]] = {
    "DELETE /bindings/{name}": ("PUT /bindings/{name}",),
    "POST /bindings/<name>/delete": ("PUT /bindings/{name}",),
    "POST /bindings/<name>/edit": ("PUT /bindings/{name}",),
    "POST /flows/<flow>/bindings/<name>/delete": ("POST /flows/<flow>/bindings/<name>/edit",),
    "DELETE /connections/{name}": ("POST /connections",),
    "POST /connections/<name>/delete": ("POST /connections",),
    "POST /flows/<slug>/resume": ("POST /flows/<slug>/pause",),
    "POST /flows/{slug}/resume": ("POST /flows/{slug}/pause",),
    "POST /flows/{slug}/schedules/{name}/resume": ("POST /flows/{slug}/schedules/{name}/pause",),
    "POST /flows/{slug}/schedules/{name}/drop": ("POST /flows/{slug}/schedules/{name}/backfill",),
    "POST /runs/{run_id}/resume": ("POST /runs/{run_id}/pause",),
    "POST /subscriptions/{name}/resume": ("POST /subscriptions/{name}/pause",),
    "POST /uploads/{upload_id}/complete": ("PUT /uploads/{upload_id}",),
}
_BINDING: Final = {"live": "ci", "test": ""}
#: bodies and fields of those that the stage knows nothing of, or only as a refusal
BODIES: Final[dict[str, Any]] = {
    "PUT /bindings/{name}": _BINDING,
    "POST /bindings/new": {**_BINDING, "name": "shop"},
    "POST /bindings/<name>/edit": {"live": "", "test": "ci"},
    "POST /flows/<flow>/bindings/<name>/edit": _BINDING,
    "PUT /connections/{name}": {"settings": {"base_url": "https://other.example.com"}},
    "PUT /connections/{name}/limits": {"limits": {"concurrency": 3}},
    "POST /connections/<name>/limits": {"concurrency": "3", "per": "second", "on_open": "queue"},
    "POST /connections/<name>/edit": {"base_url": "https://other.example.com", "auth-type": "none"},
    "POST /runner-tokens": {"name": "vm"},
    "POST /runners/tokens": {"name": "vm", "folder": "", "labels": ""},
    "PUT /notices/settings": {"muted": ["message"]},
    "POST /notices/settings": {"told": "approval"},
    "POST /runs/{run_id}/steps/{step}/outcome": {"outcome": "not_done", "reason": "looked"},
    "POST /runs/<run_id>/reveal": {"field": "input.card", "reason": "asked"},
    "POST /runs/{run_id}/reveal": {"field": "input.card", "reason": "asked"},
}
#: operations on a run that goes on; the others are about one that failed
_GOING: Final = (
    "POST /runs/{run_id}/pause", "POST /runs/{run_id}/resume", "POST /runs/{run_id}/terminate",
    "POST /runs/{run_id}/cancel", "POST /runs/<run_id>/<verb>",
)  # fmt: skip
_JSON: Final = ("decision", "digest")
_VOTES: Final = ("POST /approvals/<request_id>/decide", "POST /approvals/{request_id}/decisions")


def named(place: stage.Place, operation: str) -> dict[str, Any]:
    """What stands in the address of this one."""
    words = operation.split("/")
    found: dict[str, Any] = {"kind": "http", "name": stage.NAMES.get(words[1], "")}
    if words[1] == "flows" and "variables" in words:
        found["name"] = "size"
    if words[1] == "bindings" or "bindings" in words:
        found["name"] = "shop"
    if words[1] == "connections" and (operation.startswith("DELETE") or words[-1] == "delete"):
        found["name"] = "cd"
    if words[1] == "subscriptions" or "schedules" in words:
        found["verb"] = "pause"
    for group, names in place.names["others"].items():
        if operation in group:
            found |= names
    return found


def others() -> dict[tuple[str, ...], dict[str, Any]]:
    """Objects beside those of the stage, where these are in no state for it."""
    flow = seed.flow("more", folder=stage.FOLDER)
    request = seed.ask(seed.Story(flow).to_approval(), irreversible=False, quorum=2, group=False)
    going, doubt = seed.Story(flow).to_approval().run, seed.Story(flow).failed().run
    StepRun.objects.filter(run=doubt, step="build").update(status="unknown")
    create_flow(actor=stage.SYSTEM, source=SENSITIVE)
    release_draft(actor=stage.SYSTEM, slug="cards", version="1.0.0", live=True)
    hidden = start_run(actor=stage.SYSTEM, flow=Flow.objects.get(slug="cards"), input={"card": "4111"}).run
    token, _ = create_runner_token(actor=stage.SYSTEM, name="laptop")
    return {
        _GOING: {"run_id": going.pk},
        _VOTES: {"request_id": request.pk, "digest": request.digest},
        ("POST /runs/{run_id}/steps/{step}/outcome",): {"run_id": doubt.pk},
        ("POST /runs/{run_id}/reveal", "POST /runs/<run_id>/reveal"): {"run_id": hidden.pk},
        ("DELETE /runner-tokens/{token_id}", "POST /runners/tokens/<token_id>/revoke"): {"token_id": token.pk},
    }


def mutations() -> list[str]:
    everything = {op for op in operations() if not op.startswith("GET ")} | {form for form in forms() if form != "POST"}
    return sorted(everything)


@pytest.fixture(scope="module")
def place(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Made once; each try is rolled back."""
    patch = pytest.MonkeyPatch()
    with django_db_blocker.unblock(), transaction.atomic():
        patch.setattr(settings, "MEDIA_ROOT", tmp_path_factory.mktemp("files"))
        made = stage.build()
        made.names["others"] = others()
        client = Client(raise_request_exception=False)
        client.force_login(User.objects.get(username="root"))
        yield made, client
        patch.undo()
        transaction.set_rollback(True)


def ask(place: stage.Place, client: Client, operation: str) -> Any:
    method, address = operation.split(" ")
    own = stage.Place({**place.names, **named(place, operation)})
    vote = {"decision": "approve", "verdict": "approve", "digest": own.names["digest"]}
    bodies = {**BODIES, _VOTES[0]: vote, _VOTES[1]: {k: vote[k] for k in _JSON}}
    if operation in forms() and operation not in operations():
        fields = {**stage.pages(own).get(operation, stage.WHY), **bodies.get(operation, {})}
        return client.post(own.path(address), fields | stage.files(operation))
    given = stage.api(own).get(operation, stage.Ask("", None if method == "DELETE" else {}))
    body = bodies.get(operation, given.body)
    text = body if isinstance(body, str | bytes) else "" if body is None else json.dumps(body)
    path = "/api/v1" + own.path(address) + given.path
    return client.generic(method, path, text, content_type=given.kind, headers={"If-Match": '"1"'})


@pytest.mark.parametrize("operation", [op for op in mutations() if op not in EXCUSED])
def test_a_mutation_is_in_the_audit_log(place: Any, operation: str) -> None:
    made, client = place
    with transaction.atomic():
        for other in FIRST.get(operation, ()):
            first = ask(made, client, other)
            assert first.status_code < 400, (other, first.status_code, first.content[:300])
        before = AuditEntry.objects.count()
        answer = ask(made, client, operation)
        noted = list(AuditEntry.objects.order_by("-seq")[: AuditEntry.objects.count() - before])
        said = [str(m) for m in get_messages(answer.wsgi_request)] if answer.status_code == 302 else []
        transaction.set_rollback(True)
    assert answer.status_code < 400, (answer.status_code, answer.content[:500])
    assert noted, f"nothing in the audit log; {answer.status_code} {said} {answer.content[:300]!r}"
    assert all(entry.actor == "root" and entry.actor_kind == "user" and entry.address for entry in noted)


def test_the_excused_are_there_and_each_says_why() -> None:
    assert set(EXCUSED) <= set(mutations())
    assert all(EXCUSED.values())
