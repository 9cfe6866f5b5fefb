"""Every operation of the API and every form of the pages that changes something leaves an entry in the audit log."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import transaction
from django.test import Client
from django.urls import get_resolver

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources.access import Actor
from resources.models import AuditEntry
from resources.people.accounts import invite_person, link_for
from resources.receiving.links import Wanted, issue_upload_link
from runs.actions import start_run
from runs.jobs.tokens import create_runner_token
from runs.models import StepRun
from tests.access import place as stage
from tests.access.test_matrix import _methods, _views, forms, operations
from tests.pages import seed

pytestmark = [pytest.mark.db_matrix, pytest.mark.django_db]
SENSITIVE: Final = """\
flow: cards
folder: pay/eu
input: {type: object, properties: {card: {type: string, x-sensitive: true}}}
steps: [{id: rest, sleep: 1h}]
"""
CHANGING: Final = ("POST ", "PUT ", "PATCH ", "DELETE ")
UPLOAD: Final = "PUT /shared/<token>"
#: why an operation leaves none -> those operations
EXCUSED: Final[dict[str, tuple[str, ...]]] = {
    "changes nothing": ("POST /lint", "POST /flows/check", "POST /dead-letters/count"),
    "the parts of an upload: what is made of them is audited": (
        "POST /uploads", "PUT /uploads/{upload_id}", "DELETE /uploads/{upload_id}",
    ),
    "what somebody has read is theirs alone": (
        "POST /notices/read", "POST /notices/{notice_id}/read", "POST /notices/<notice_id>/read",
    ),
    "signing in and out changes no object; sessions have a table of their own": ("POST /login", "POST /logout"),
    "no person: the history of the run has it": (
        "POST /hooks/<slug>/<trigger>", "POST /callbacks/<token>", "POST /runner/claim",
        "POST /runner/jobs/{job_id}/complete", "POST /runner/jobs/{job_id}/fail", "POST /runner/jobs/{job_id}/logs",
        "POST /runner/jobs/{job_id}/heartbeat", "PUT /runner/jobs/{job_id}/artifacts/{name}",
    ),
}  # fmt: skip
WITHOUT: Final = frozenset(operation for group in EXCUSED.values() for operation in group)
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
    "POST /connections/<name>/circuit/close": ("POST /connections/<name>/circuit/open",),
    "POST /flows/<slug>/live": ("POST /flows/{slug}/releases",),
    "POST /people/{name}/reactivate": ("POST /people/{name}/deactivate",),
}
OLD, NEW, ELSEWHERE, CARD = "an old harbour", "a quiet harbour", "value-of-the-environment", "4111-0000-1111"
#: in no entry: passwords, tokens, links, values of secrets and sensitive ones, all of which are sent or kept here
SECRET: Final = re.compile(
    "|".join(
        (
            OLD,
            NEW,
            ELSEWHERE,
            CARD,
            "(first|second|third|a)-long-value",
            r"(orc|orr|whsec)_\w",
            "/shared/",
            "pbkdf2|md5\\$",
        )
    )
)
MARKED: Final = {"type": "string", "x-sensitive": True}
#: what nobody signed in does, and who it is done as
STRANGERS: Final = {"POST /invitations/<uid>/<token>": ("newcomer", "user"), UPLOAD: ("upload link of root", "trigger")}
#: whose address holds what is over or never told, not the object
UNNAMED: Final = (*STRANGERS, "POST /uploads/{upload_id}/complete")
_BINDING: Final = {"live": "ci", "test": ""}
#: bodies and fields of those that the stage knows nothing of, or only as a refusal
BODIES: Final[dict[str, Any]] = {
    "PUT /bindings/{name}": _BINDING,
    "POST /bindings/new": {**_BINDING, "name": "shop"},
    "POST /bindings/<name>/edit": {"live": "", "test": "ci"},
    "POST /flows/<flow>/bindings/<name>/edit": _BINDING,
    "PUT /connections/{name}": {"settings": {"base_url": "https://other.example.com"}},
    "PUT /connections/{name}/limits": {"concurrency": 3},
    "PUT /flows/{slug}/draft": stage.TEXT + "# more\n",
    "POST /flows/<slug>/live": {"version": "1.1.0"},
    "POST /me/password": {"current": OLD, "password": NEW},
    "POST /account/password": {"current": OLD, "password": NEW, "again": NEW},
    "POST /invitations/<uid>/<token>": {"password": NEW, "again": NEW},
    "POST /connections/<name>/limits": {"concurrency": "3", "per": "second", "on_open": "queue"},
    "POST /connections/<name>/edit": {"base_url": "https://other.example.com", "auth-type": "none"},
    "PUT /variables/{name}": {"values": {"live": CARD}, "schema": MARKED},
    "POST /variables/new": {"name": "more", "schema": json.dumps(MARKED), "live": json.dumps(CARD)},
    "POST /flows/{slug}/runs": {"input": {"card": CARD}},
    "POST /resources/<artifact_id>/change": {"keep": "forever", "labels": "", "pinned": "on"},
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
    if words[1] == "people":
        found["verb"] = "deactivate"
    if operation.startswith("PUT /groups/"):
        found["member"] = "root"
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
    hidden = start_run(actor=stage.SYSTEM, flow=Flow.objects.get(slug="cards"), input={"card": CARD}).run
    token, _ = create_runner_token(actor=stage.SYSTEM, name="laptop")
    root = User.objects.get(username="root")
    root.set_password(OLD)
    root.save()
    invited = link_for(invite_person(actor=stage.SYSTEM, name="newcomer")).split("/")
    wanted = Wanted(name="brought", folder=stage.FOLDER)
    _, link = issue_upload_link(actor=Actor.of_user(root), wanted=wanted, now=time.time())
    return {
        ("POST /invitations/<uid>/<token>",): {"uid": invited[-2], "token": invited[-1]},
        ("POST /flows/{slug}/runs",): {"slug": "cards"},
        (UPLOAD,): {"token": link.split("/")[-1]},
        _GOING: {"run_id": going.pk},
        _VOTES: {"request_id": request.pk, "digest": request.digest},
        ("POST /runs/{run_id}/steps/{step}/outcome",): {"run_id": doubt.pk},
        ("POST /runs/{run_id}/reveal", "POST /runs/<run_id>/reveal"): {"run_id": hidden.pk},
        ("DELETE /runner-tokens/{token_id}", "POST /runners/tokens/<token_id>/revoke"): {"token_id": token.pk},
    }


def mutations() -> list[str]:
    """All of the API, all forms of the pages, and the one address outside both that takes a file."""
    everything = operations() | forms() | {UPLOAD}
    return sorted(name for name in everything if name.startswith(CHANGING))


def test_no_page_takes_another_method() -> None:
    """Or it would be left out here."""
    taken = {
        (method, address) for address, view in _views(get_resolver().url_patterns, "") for method in _methods(view)
    }
    others = {f"{method} /{a}" for method, a in taken if "api/v1" not in a and method not in ("GET", "HEAD", "POST")}
    assert others == {UPLOAD.replace("<token>", "<str:token>")}


@pytest.fixture(scope="module")
def place(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Made once; each try is rolled back."""
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock(), transaction.atomic():
        patch.setattr(settings, "MEDIA_ROOT", tmp_path_factory.mktemp("files"))
        patch.setenv("ORCHESTRA_SECRET_X", ELSEWHERE)
        made = stage.build()
        made.names["others"] = others()
        yield made
        transaction.set_rollback(True)


def signed_in(operation: str) -> Client:
    """Anew for each: a changed password ends a session."""
    client = Client(raise_request_exception=False)
    if operation not in STRANGERS:
        client.force_login(User.objects.get(username="root"))
    return client


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
    if operation == UPLOAD:
        return client.put(own.path(address), b"bytes", content_type="text/plain")
    text = body if isinstance(body, str | bytes) else "" if body is None else json.dumps(body)
    path = "/api/v1" + own.path(address) + given.path
    return client.generic(method, path, text, content_type=given.kind, headers={"If-Match": '"1"'})


@pytest.mark.parametrize("operation", [op for op in mutations() if op not in WITHOUT])
def test_a_mutation_is_in_the_audit_log(place: stage.Place, operation: str) -> None:
    with transaction.atomic():
        client = signed_in(operation)
        for other in FIRST.get(operation, ()):
            first = ask(place, client, other)
            assert first.status_code < 400, (other, first.status_code, first.content[:300])
        before = AuditEntry.objects.count()
        answer = ask(place, client, operation)
        noted = list(AuditEntry.objects.order_by("-seq")[: AuditEntry.objects.count() - before])
        said = [str(m) for m in get_messages(answer.wsgi_request)] if answer.status_code == 302 else []
        transaction.set_rollback(True)
    assert answer.status_code < 400, (answer.status_code, answer.content[:500])
    assert noted, f"nothing in the audit log; {answer.status_code} {said} {answer.content[:300]!r}"
    who = STRANGERS.get(operation, ("root", "user"))
    for entry in noted:
        assert (entry.actor, entry.actor_kind) == who and entry.address
        assert entry.action.count(".") == 1 and entry.object_type and entry.object_id
    told = json.dumps([[entry.action, entry.object_id, entry.data] for entry in noted])
    assert operation in UNNAMED or all(name in told for name in meant(place, operation)), told
    assert not SECRET.search(told), told


def meant(place: stage.Place, operation: str) -> list[str]:
    """What the address names: the object, and what about it."""
    own = {**place.names, **named(place, operation)}
    return [str(own[name]) for name in re.findall(r"[{<](\w+)[}>]", operation)]


def test_the_excused_are_there() -> None:
    """One that is gone, or has another address now, is taken off the list."""
    assert WITHOUT - set(mutations()) == set()
    assert len(WITHOUT) == sum(map(len, EXCUSED.values())), "one is there twice"
