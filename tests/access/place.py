"""One object of each kind in the folder `pay/eu`, and a request for each operation that touches it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from flows.actions import create_flow, release_draft
from flows.binding_actions import set_binding
from flows.models import Flow
from flows.variables import set_variable
from resources import artifacts
from resources.access import Actor
from resources.connections import create_connection
from resources.grants import grant_role
from resources.models import Grant, Notice, Upload, UploadLink
from resources.notices import people
from resources.people import groups
from resources.secrets import set_secret
from resources.tokens import create_token
from runs.dead.models import Quarantine, ReplayBatch
from runs.jobs.tokens import create_runner_token
from runs.models import Delivery, Job, Runner
from runs.named.delivery import deliver_event
from runs.outbound.destinations import Wanted
from runs.outbound.subscriptions import create_subscription
from runs.search import keeping
from tests.pages import seed

FOLDER: Final = "pay/eu"
SYSTEM: Final = Actor.system("tests")
SOURCE: Final = """\
flow: {slug}
folder: {folder}
title: Every night
input: {{type: object}}
triggers:
  - manual: {{}}
  - schedule: {{name: night, cron: "0 6 * * *", timezone: UTC}}
steps:
  - id: rest
    sleep: 1h
"""
TEXT: Final = SOURCE.format(slug="nightly", folder=FOLDER)
URL: Final = {"base_url": "https://ci.example.com"}
WHY: Final = {"reason": "because"}


@dataclass(frozen=True)
class Ask:
    """A request. `body`: JSON, text (YAML) or bytes for the API. `granted`: what the answer and the address it leads to
    hold (" audited" after them, when the audit log has more) when more than the status tells that it was allowed."""

    path: str
    body: Any = None
    kind: str = "application/json"
    granted: Callable[[bytes], bool] | None = None


@dataclass
class Place:
    names: dict[str, Any] = field(default_factory=dict)

    def path(self, template: str) -> str:
        """The address of an operation with the names of this place; `{slug}` and `<str:slug>` alike."""
        for name, value in self.names.items():
            template = template.replace(f"{{{name}}}", str(value)).replace(f"<{name}>", str(value))
        return template


def build() -> Place:
    """In the caller's transaction."""
    now = time.time()
    root = User.objects.create_user("root")
    Grant.objects.create(user=root, role="admin")
    admin = Actor.of_user(root)
    create_connection(actor=SYSTEM, name="ci", kind="http", settings=URL)
    for value in ("first-long-value", "second-long-value"):
        set_secret(actor=SYSTEM, name="token", value=value)
    create_flow(actor=SYSTEM, source=TEXT)
    release_draft(actor=SYSTEM, slug="nightly", version="1.0.0", live=True)
    flow = seed.flow("deploy-it", folder=FOLDER)
    failed, asking = seed.Story(flow).failed(), seed.Story(flow).to_approval()
    request = seed.ask(asking, irreversible=False, quorum=1, group=False)
    wanted = Wanted(types=("*",), connection="ci", path="/events")
    row = create_subscription(actor=admin, name="ops", wanted=wanted).subscription
    set_variable(actor=SYSTEM, name="region", values={"live": "eu"}, schema={"type": "string"})
    set_variable(actor=SYSTEM, name="size", flow="nightly", values={"draft": 3}, schema={"type": "integer"})
    set_binding(actor=SYSTEM, name="lane", flow="nightly", test="ci")
    set_binding(actor=SYSTEM, name="shared", live="ci")
    keeping.refresh("flow", ["nightly"])
    event = deliver_event(actor=SYSTEM, name="paid", key="event-of-the-folder", body={}, folder=FOLDER).event
    return Place({
        **_rows(flow, failed.run.pk, now), "run_id": failed.run.pk, "open_run": asking.run.pk, "slug": "nightly",
        "request_id": request.pk, "digest": request.digest, "event": event.pk, "verb": "cancel", "step": "build",
        **_people(), "member": "paula",
        "notice_id": _notice(root, now),
        "delivery_id": Delivery.objects.create(subscription=row, type="test", since=now, created_at=now).pk,
        "name": "ci", "version": 1, "flow": "nightly", "seq": 1,
    })  # fmt: skip


def _people() -> dict[str, Any]:
    """Somebody of the folder, in a group, with a token of the folder."""
    paula = User.objects.create_user("paula")
    groups.create_group(actor=SYSTEM, name="crew")
    groups.add_member(actor=SYSTEM, name="crew", member="paula")
    grant = grant_role(actor=SYSTEM, role="operator", folder=FOLDER, user=paula)
    token, _ = create_token(actor=Actor.of_user(paula), user=paula, name="of paula", scopes=[f"operator:{FOLDER}"])
    return {"grant_id": grant.pk, "token_id": token.pk}


def _notice(user: User, now: float) -> int:
    people.tell([user.pk], key="k", kind="message", title="Of root", now=now)
    return Notice.objects.get(user=user).pk


def _rows(flow: Flow, run: str, now: float) -> dict[str, Any]:
    entry = Quarantine.objects.create(flow=flow, digest="0" * 64, reason="bad", actor="root", run_id=run, at=now)
    batch = ReplayBatch.objects.create(
        mode="retry", reason="why", rate=1, total=1, actor="root", actor_kind="user", created_at=now, next_at=now
    )
    kept = artifacts.store(b"rows", name="rows-of-the-folder", folder=FOLDER)
    upload = Upload.objects.create(owner="root", name="x", content_type="text/plain", folder=FOLDER, size=1,
                                   expires_at=now + 999)  # fmt: skip
    link = UploadLink.objects.create(name="link-of-the-folder", folder=FOLDER, max_bytes=9, created_by="root",
                                     created_at=now, expires_at=now + 999)  # fmt: skip
    return {"link_id": link.pk, "quarantine_id": entry.pk, "pk": entry.pk, "replay_id": batch.pk,
            "batch_id": batch.pk, "resource_id": kept.pk, "artifact_id": kept.pk, "upload_id": upload.pk,
            **_job(run, kept.pk, now)}  # fmt: skip


def _job(run: str, file: str, now: float) -> dict[str, Any]:
    """A job of the folder that a runner holds; a second one waits. Tokens of the folder's runners, and of others."""
    token, plain = create_runner_token(actor=SYSTEM, name="runners-of-the-folder", folder=FOLDER)
    _, other = create_runner_token(actor=SYSTEM, name="runners-beside", folder="pay/e")
    runner = Runner.objects.create(token=token, name="box", labels=["linux"], seen_at=now)
    given = {"files": [{"name": "notes.txt", "resource": file}], "schema": None}
    same: dict[str, Any] = {"run_id": run, "step": "build", "folder": FOLDER, "labels": ["linux"], "spec": given,
                            "label_key": "linux", "lease": 60.0, "created_at": now, "attempt": 1}  # fmt: skip
    job = Job.objects.create(
        **same, token="held", state=Job.State.CLAIMED, runner=runner, fence=1, lease_until=now + 60
    )
    return {"job_id": job.pk, "runner_token_id": token.pk, "runner": {"Authorization": f"Bearer {plain}"},
            "other_runner": {"Authorization": f"Bearer {other}"}}  # fmt: skip


def _done(answer: bytes) -> bool:
    """Of many, each has its own result; one that is not allowed is not found or says so."""
    items = json.JSONDecoder().raw_decode(answer.decode())[0]["items"]  # behind it stands whether it was audited
    return not any(item["code"] in ("not_allowed", "not_found", "run_not_found") for item in items)


def _has(text: str) -> Callable[[bytes], bool]:
    return lambda answer: text.encode() in answer


def api(place: Place) -> Mapping[str, Ask]:
    """Operation -> what is sent; those left out send `{}`."""
    run, digest = place.names["run_id"], place.names["digest"]
    sub = {"types": ["*"], "connection": "ci", "path": "/"}
    given: dict[str, Any] = {
        "POST /flows": Ask("", SOURCE.format(slug="another", folder=FOLDER), "application/yaml"),
        "PUT /flows/{slug}/draft": Ask("", TEXT, "application/yaml"),
        "POST /lint": Ask("", TEXT, "application/yaml"),
        "POST /flows/{slug}/pause": {"reason": "a storm"},
        "POST /flows/{slug}/releases": {"version": "1.1.0"},
        "POST /runs/bulk": Ask("", {"control": "retry", "ids": [run], **WHY}, granted=_done),
        "POST /runs/{run_id}/fork": {"step": "build"},
        "POST /runs/{run_id}/reveal": {"field": "input", **WHY},
        "POST /runs/{run_id}/steps/{step}/outcome": {"outcome": "done", **WHY},
        "GET /runs": Ask("", granted=_has(run)),
        "POST /subscriptions": {**sub, "name": "more"},
        "PUT /subscriptions/{name}": sub,
        "POST /subscriptions/{name}/replay": {},
        "GET /approvals": Ask("?box=all", granted=_has(place.names["request_id"])),
        "POST /approvals/{request_id}/decisions": {"decision": "reject", "digest": digest, "comment": "no"},
        "POST /connections": {"name": "cd", "kind": "http", "settings": URL},
        "PUT /connections/{name}": {"settings": URL},
        "POST /connections/{name}/circuit": {"state": "open", **WHY},
        "GET /schedules": Ask("", granted=_has("nightly")),
        "GET /flows/{slug}/schedules/{name}/times": Ask(""),
        "GET /flows/{slug}/schedules/{name}/backfill": Ask("?from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z"),
        "POST /flows/{slug}/schedules/{name}/backfill": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"},
        "GET /dead-letters": Ask("", granted=_has(run)),
        "POST /dead-letters/count": Ask("", {"ids": [run]}, granted=lambda answer: json.loads(answer)["count"] == 1),
        "POST /dead-letters/dismiss": Ask("", {"ids": [run], **WHY}, granted=_done),
        "POST /dead-letters/replays": Ask("", {"filter": {"ids": [run]}, "mode": "retry", **WHY}, granted=_has('"id"')),
        "GET /dead-letters/replays": Ask("", granted=lambda answer: json.loads(answer)["items"] != []),
        "GET /quarantine": Ask("", granted=lambda answer: json.loads(answer)["items"] != []),
        "POST /quarantine": {"run": run, **WHY},
        "POST /quarantine/{quarantine_id}/release": WHY,
        "POST /events": {"name": "paid", "id": "another", "folder": FOLDER},
        "GET /events": Ask("", granted=_has("event-of-the-folder")),
        "GET /resources": Ask("", granted=_has("rows-of-the-folder")),
        "POST /resources": Ask(f"?folder={FOLDER}", b"bytes", "application/octet-stream"),
        "PATCH /resources/{resource_id}": {"pinned": True},
        "GET /upload-links": Ask("", granted=_has("link-of-the-folder")),
        "POST /upload-links": {"name": "x", "folder": FOLDER},
        "POST /uploads": {"size": 3, "folder": FOLDER},
        "PUT /uploads/{upload_id}": Ask("?offset=0", b"x", "application/octet-stream"),
        "POST /uploads/{upload_id}/complete": {"sha256": hashlib.sha256(b"x").hexdigest()},
        "POST /me/password": {"current": "no", "password": "a quiet harbour"},
        "POST /people": {"name": "more"},
        "PATCH /people/{name}": {"email": "", "full_name": "Paula"},
        "POST /groups": {"name": "more"},
        "GET /grants": Ask("", granted=_has('"paula"')),
        "POST /grants": {"role": "viewer", "folder": FOLDER, "user": "paula"},
        "GET /access": Ask(f"?folder={FOLDER}"),
        "GET /access/explain": Ask(f"?folder={FOLDER}&user=paula&action=start"),
        "POST /tokens": {"name": "more"},
        "GET /search": Ask("?q=nightly", granted=_has('"nightly"')),
        "GET /bindings": Ask("", granted=_has('"nightly"')),
        "PUT /bindings/{name}": {"live": "ci", "test": "ci"},
        "GET /jobs": Ask("", granted=_has(place.names["job_id"])),
        "GET /runners": Ask("", granted=_has("runners-of-the-folder")),
        "GET /runner-tokens": Ask("", granted=_has("runners-of-the-folder")),
        "POST /runner-tokens": {"name": "more", "folder": FOLDER},
        "POST /runner/claim": {"name": "box", "labels": ["linux"]},
        "POST /runner/jobs/{job_id}/heartbeat": {"fence": 1},
        "POST /runner/jobs/{job_id}/logs": Ask("?fence=1&offset=0", b"line", "application/octet-stream"),
        "GET /runner/jobs/{job_id}/files/{name}": Ask("?fence=1"),
        "PUT /runner/jobs/{job_id}/artifacts/{name}": Ask("?fence=1", b"bytes", "application/octet-stream"),
        "POST /runner/jobs/{job_id}/complete": {"fence": 1, "output": 1},
        "POST /runner/jobs/{job_id}/fail": {"fence": 1},
        "POST /notices/read": {"up_to": "2030-01-01T00:00:00Z"},
        "PUT /notices/settings": {"muted": []},
        "GET /variables": Ask("", granted=_has('"nightly"')),
        "PUT /variables/{name}": {"values": {"live": "us"}, "schema": {"type": "string"}},
        "PUT /secrets/{name}": {"value": "third-long-value"},
        "PUT /secrets/{name}/reminder": {"rotate_days": 30},
    }
    return {key: ask if isinstance(ask, Ask) else Ask("", ask) for key, ask in given.items()}


#: what `{name}` is below a flow, by the word before it
OF_FLOWS: Final = {"variables": "size", "bindings": "lane"}
#: the object that `{name}` is, by the first word of the address
NAMES: Final = {"subscriptions": "ops", "connections": "ci", "variables": "region", "secrets": "token",
                "flows": "night", "bindings": "shared", "runner": "notes.txt", "people": "paula",
                "groups": "crew"}  # fmt: skip


def pages(place: Place) -> Mapping[str, dict[str, Any]]:
    """Form -> its fields; those left out send a reason alone."""
    run = place.names["run_id"]
    sub = {"types": "*", "connection": "ci", "path": "/"}
    http = {"base_url": URL["base_url"], "auth-type": "none"}
    vault = {"source": "env", "variable": "ORCHESTRA_SECRET_X"}
    return {
        "POST /runs/bulk": {"id": run, "control": "retry", **WHY},
        "POST /runs/<run_id>/reveal": {"field": "input", **WHY},
        "POST /dead-letters/do": {"id": run, "control": "quarantine", **WHY},
        "POST /subscriptions/new": {**sub, "name": "more"},
        "POST /subscriptions/<name>/edit": sub,
        "POST /approvals/<request_id>/decide": {"verdict": "reject", "comment": "no", "digest": place.names["digest"]},
        "POST /variables/new": {"name": "more", "schema": '{"type": "string"}', "live": '"x"'},
        "POST /variables/<name>/edit": {"schema": '{"type": "string"}', "live": '"x"'},
        "POST /flows/<flow>/variables/<name>/edit": {"schema": '{"type": "integer"}', "draft": "4"},
        "POST /people/new": {"name": "more"},
        "POST /people/<name>/edit": {"email": "", "full_name": "Paula"},
        "POST /groups/new": {"name": "more"},
        "POST /groups/<name>/members": {"member": "root"},
        "POST /access/roles": {"user": "paula", "role": "viewer", "folder": FOLDER},
        "POST /account/password": {"current": "no", "password": "a quiet harbour", "again": "a quiet harbour"},
        "POST /tokens/new": {"name": "more"},
        "POST /bindings/new": {"name": "more", "live": "ci"},
        "POST /bindings/<name>/edit": {"live": "ci"},
        "POST /flows/<flow>/bindings/<name>/edit": {"test": "ci"},
        "POST /runners/tokens": {"name": "more", "folder": FOLDER},
        "POST /notices/read": {"up_to": "2000000000"},
        "POST /flows/new": {"slug": "another", "title": "Another", "folder": FOLDER, "starter": "empty"},
        "POST /flows/check": {"source": TEXT},
        "POST /flows/<slug>/edit": {"source": TEXT + "# more\n", "revision": "1"},
        "POST /flows/<slug>/releases": {"version": "1.1.0", "revision": "1"},
        "POST /flows/<slug>/live": {"version": "1.0.0"},
        "POST /connections/new/<kind>": {**http, "name": "cd"},
        "POST /connections/<name>/edit": http,
        "POST /connections/<name>/limits": {"per": "second", "on_open": "queue"},
        "POST /secrets/new": {"name": "more", "value": "a-long-value"},
        "POST /secrets/new/elsewhere": {"name": "more", **vault},
        "POST /secrets/new/quick": {"name": "more", "source": "stored", "value": "a-long-value"},
        "POST /secrets/<name>/edit": {"value": "a-long-value"},
        "POST /secrets/<name>/elsewhere": vault,
        "POST /secrets/<name>/reminder": {"rotate_days": "30"},
        "POST /resources/upload": {"folder": FOLDER},
        "POST /resources/upload-links": {"name": "x", "folder": FOLDER, "max_mib": 1, "expires_in": "3600"},
        "POST /resources/<artifact_id>/change": {"keep": "forever", "labels": ""},
    }


#: forms that answer alike whether it was allowed or not, but for what came of it
SHOWS: Final = {"POST /flows/<slug>/start": _has("/runs/"), "POST /runs/bulk": _has(" audited")}


def files(form: str) -> dict[str, Any]:
    """What a form sends besides its fields; anew for each request, as it is read."""
    return {"file": ContentFile(b"bytes", "notes.txt")} if form == "POST /resources/upload" else {}
