"""Rows made straight through the ORM: runs in every state, their events, requests for approval. No engine needed."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from django.contrib.auth.models import Group, User

from approvals.models import ApprovalRequest, Decision, NamedReviewer
from flows.definition.plan import Plan, Retry, StepPlan, Trigger
from flows.models import Draft, Flow, Release
from resources.ids import ulid
from resources.models import Grant
from runs.models import Run, RunEvent, StepRun, WaitToken

PASSWORD = "correct horse battery"
STEPS = (
    StepPlan("plan", "function", {"code": "input"}),
    StepPlan("build", "http", {"connection": "ci", "method": "POST", "path": "/builds"}, needs=("plan",)),
    StepPlan("tests", "http", {"connection": "ci", "path": "/tests"}, needs=("plan",), retry=Retry(max_attempts=3)),
    StepPlan("canary", "sleep", {"for": 20}, needs=("build", "tests")),
    StepPlan("approve", "approval", {"title": "Release"}, needs=("canary",)),
    StepPlan(
        "deploy",
        "http",
        {"connection": "world", "method": "POST", "path": "/deploy"},
        needs=("approve",),
        irreversible=True,
        protected_by=("approve",),
    ),
    StepPlan("tell", "kv", {"set": {"key": "last"}}, needs=("deploy",)),
)
ORDER = [s.id for s in STEPS]
FORM = {
    "type": "object",
    "required": ["window"],
    "properties": {
        "window": {"enum": ["now", "tonight"], "title": "When", "default": "now"},
        "pause": {"type": "integer", "minimum": 5, "maximum": 120, "default": 15, "title": "Pause between waves"},
        "ticket": {"type": "string", "description": "CHG- and five digits"},
        "tell": {"type": "boolean", "title": "Tell the channel"},
    },
}


def person(name: str, full: str = "", roles: tuple[str, ...] = (), folder: str = "") -> User:
    first, _, last = full.partition(" ")
    user = User.objects.create_user(name, password=PASSWORD, first_name=first, last_name=last)
    for role in roles:
        Grant.objects.create(user=user, role=role, folder=folder)
    return user


def people() -> dict[str, User]:
    """ana reviews and operates, jonas reviews, mira operates, otto sees nothing."""
    found = {
        "ana": person("ana", "Ana Kovač", ("reviewer", "operator")),
        "jonas": person("jonas", "Jonas Lindqvist", ("reviewer",)),
        "mira": person("mira", "Mira Okafor", ("operator",)),
        "otto": person("otto", "Otto Fremd", ("viewer", "reviewer"), folder="elsewhere"),
    }
    group = Group.objects.create(name="payments-leads")
    group.user_set.add(found["ana"], found["jonas"])
    return found


def flow(slug: str = "release-service", title: str = "Release a service", folder: str = "payments") -> Flow:
    plan = Plan(
        1, slug, title, STEPS, folder=folder, triggers=(Trigger("manual", "manual"), Trigger("webhook", "github"))
    )
    row = Flow.objects.create(slug=slug, title=title, folder=folder)
    release = Release.objects.create(
        flow=row, version="2.3.1", language=1, source="", plan_json=plan.to_json(), checksum=plan.checksum, revision=1
    )
    Draft.objects.create(flow=row, source=f"flow: {slug}\n")
    row.live = release
    row.save(update_fields=["live"])
    return row


class Story:
    """Writes the history of one run, event by event, at seconds from its start."""

    def __init__(self, row: Flow, *, starter: User | None = None, age: float = 3600, trigger: str = "webhook") -> None:
        self.start = time.time() - age
        kind = {"kind": trigger, "name": "github" if trigger == "webhook" else ""}
        given = {"service": "payments-api", "version": "v4.2.0"}
        assert row.live is not None
        self.run = Run.objects.create(
            id=ulid(self.start),
            flow=row,
            release=row.live,
            status="running",
            input=given,
            trigger=kind,
            starter=starter,
            created_at=self.start,
            started_at=self.start,
        )
        self.seq = 0
        self.steps: dict[str, StepRun] = {}
        self.event(0, "run.created", trigger=kind)
        self.event(0, "run.started")

    def event(self, after: float, type_: str, step: str = "", actor: str = "", **data: Any) -> None:
        self.seq += 1
        RunEvent.objects.create(
            run=self.run, seq=self.seq, type=type_, step=step, actor=actor, at=self.start + after, data=data
        )
        Run.objects.filter(pk=self.run.pk).update(seq=self.seq)

    def step(self, name: str, begin: float, end: float | None, status: str = "succeeded", **more: Any) -> None:
        row = StepRun.objects.create(
            run=self.run,
            step=name,
            status=status,
            version=1,
            attempt=1,
            started_at=self.start + begin,
            ended_at=None if end is None else self.start + end,
            **more,
        )
        self.steps[name] = row
        self.event(begin, "step.started", name, attempt=1, worker="host-1:4711")
        if end is not None and status == "succeeded":
            self.event(end, "step.succeeded", name, attempt=1)

    def to_approval(self) -> Story:
        self.step("plan", 0, 0.4, output={"version": "v4.2.0", "changes": [1, 2.5, True, None], "note": "<b>no</b>"})
        self.step("build", 0.5, 252, output={"status": 200, "body": {"image": "sha256:9f2ce871"}})
        self.retried("tests", 0.5)
        self.step("canary", 700, None, status="succeeded", output={"waited": 1200})
        self.event(700, "step.waiting", "canary", kind="timer", until=self.start + 1900)
        self.event(1900, "step.succeeded", "canary", attempt=1)
        self.step("approve", 1901, None, status="waiting")
        self.event(1901, "step.waiting", "approve", kind="approval", until=self.start + 9000)
        WaitToken.objects.create(token=f"t-{self.run.pk}", run=self.run, step="approve", kind="approval", status="open")
        self.end("waiting", None)
        return self

    def retried(self, name: str, begin: float) -> None:
        row = StepRun.objects.create(
            run=self.run,
            step=name,
            status="succeeded",
            version=1,
            attempt=3,
            output={"passed": 1284},
            started_at=self.start + begin,
            ended_at=self.start + begin + 600,
        )
        self.steps[name] = row
        error = {"class": "timeout", "message": "sandbox-eu-3 did not answer in 120s."}
        for attempt, at in ((1, begin), (2, begin + 200)):
            self.event(at, "step.started", name, attempt=attempt, worker="host-1:4712")
            self.event(at + 150, "step.retrying", name, attempt=attempt, error=error, wake_at=self.start + at + 200)
        self.event(begin + 400, "step.started", name, attempt=3)
        self.event(begin + 600, "step.succeeded", name, attempt=3)

    def failed(self) -> Story:
        self.step("plan", 0, 0.4, output={})
        error = {"class": "http_5xx", "message": "The build server answered 503.", "details": {"status": 503}}
        self.step("build", 0.5, 30, status="failed", state={"error": error})
        self.event(30, "step.failed", "build", attempt=1, error=error)
        self.event(31, "run.failed", error={**error, "step": "build"})
        self.run.error = {**error, "step": "build"}
        self.end("failed", 31)
        return self

    def end(self, status: str, after: float | None) -> None:
        self.run.status = status
        self.run.ended_at = None if after is None else self.start + after
        self.run.error_class = (self.run.error or {}).get("class", "")
        self.run.dead_at = self.run.ended_at if status in ("failed", "timed_out") else None
        self.run.save(update_fields=["status", "ended_at", "error", "error_class", "dead_at"])


def actions(version: str = "4.2.0", steps: tuple[str, ...] = ("deploy",)) -> list[dict[str, Any]]:
    connection = {"id": 1, "name": "world", "version": 3, "kind": "http"}
    config = {
        "method": "POST",
        "url": "https://deploy.example/deploy",
        "json": {"service": "payments-api", "version": version},
    }
    return [
        {
            "step": s,
            "item": None,
            "family": "http",
            "connection": connection,
            "config": config,
            "sentence": f"POST https://deploy.example/deploy with version {version}",
            "irreversible": s == "deploy",
        }
        for s in steps
    ]


def ask(
    story: Story,
    *,
    title: str = "Release payments-api v4.2.0 to production",
    age: float = 600,
    expires: float | None = 11520,
    quorum: int = 2,
    form: bool = False,
    status: str = "open",
    group: bool = True,
    **more: Any,
) -> ApprovalRequest:
    now = time.time()
    todo = more.pop("actions", actions())
    request = ApprovalRequest.objects.create(
        run=story.run,
        step="approve",
        folder=story.run.flow.folder,
        token=f"t-{story.run.pk}-{time.monotonic_ns()}",
        title=title,
        summary="Moves **payments-api** to `v4.2.0` for all traffic.\n\n- drops a column\n- <script>no</script>",
        actions=todo,
        digest=hashlib.sha256(json.dumps(todo).encode()).hexdigest(),
        irreversible=more.pop("irreversible", True),
        form_schema=FORM if form else {},
        quorum=quorum,
        reviewers={"groups": ["payments-leads"] if group else []},
        created_at=now - age,
        expires_at=None if expires is None else now + expires,
        status=status,
        **more,
    )
    if group:
        NamedReviewer.objects.create(request=request, kind="group", name="payments-leads")
    story.event(now - age - story.start, "approval.requested", "approve", request=request.pk, title=title)
    return request


def vote(request: ApprovalRequest, who: User, verdict: str = "approve", comment: str = "Canary is clean.") -> Decision:
    return Decision.objects.create(
        request=request, person=who, verdict=verdict, digest=request.digest, comment=comment, at=time.time() - 300
    )


def workspace() -> dict[str, Any]:
    """A lively place: everything the pages can show."""
    cast = people()
    release, refunds = flow(), flow("refund-batch", "Refund batch")
    hidden = flow("secret-flow", "Not for everybody", folder="board")
    waiting = Story(release, starter=cast["mira"], age=2800, trigger="manual").to_approval()
    before = ask(
        Story(release, age=90000),
        title="Release v4.1.3",
        age=88000,
        status="approved",
        actions=actions("4.1.3"),
        closed_at=time.time() - 87000,
    )
    main = ask(waiting, form=False)
    main.excluded.add(cast["mira"])
    vote(main, cast["jonas"])
    urgent = ask(
        Story(refunds, age=2500).to_approval(), title="Refund batch: 118 customers, €14,302.50", quorum=1, expires=540
    )
    plain = ask(
        Story(refunds, age=2400).to_approval(),
        title="Raise the payout limit",
        quorum=1,
        expires=2300,
        irreversible=False,
        form=True,
    )
    mine = ask(Story(release, age=2300).to_approval(), title="Merge vendor master data", quorum=3, expires=90000)
    vote(mine, cast["ana"])
    done = ask(Story(release, age=2200), title="Delete 41 stale buckets", status="rejected", closed_at=time.time() - 60)
    vote(done, cast["ana"], "reject", "Wrong list.")
    failed = Story(release, age=1800).failed()
    for n in range(30):
        Story(release, age=3000 * n + 100).end("succeeded" if n % 7 else "cancelled", 80 + n)
    for status in ("queued", "pausing", "paused", "cancelling", "timed_out", "compensating"):
        Story(refunds, age=500, starter=cast["mira"], trigger="manual").end(
            status, 20 if status == "timed_out" else None
        )
    running = Story(release, age=40)
    running.step("plan", 0, 0.3, output={})
    running.step("build", 0.5, None, status="running")
    return {
        "people": cast,
        "waiting": waiting,
        "main": main,
        "urgent": urgent,
        "plain": plain,
        "mine": mine,
        "done": done,
        "failed": failed,
        "running": running,
        "before": before,
        "hidden": ask(Story(hidden).to_approval(), title="Board only", group=False),
    }
