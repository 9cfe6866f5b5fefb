"""The cast: rita and rolf review, olga starts, adam released, vera looks, otto is from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flows.models import Flow, Release
from resources.access import Actor
from resources.models import Grant
from runs.models import Run

#: a plan without steps
EMPTY = {"language": 1, "flow": "x", "title": "", "steps": []}


@dataclass
class Delivery:
    outcome: str = "accepted"
    response: Any = None


@dataclass
class Engine:
    """Stands for the engine: remembers what was delivered, and previews `deploy` with the form's window."""

    delivered: list[dict[str, Any]] = field(default_factory=list)
    outcome: str = "accepted"
    on_preview: Callable[[], None] = lambda: None

    def deliver(self, *, token: str, payload: Any, actor: Any, response: Any = None) -> Delivery:
        from runs import signals

        self.delivered.append({"token": token, **payload})
        signals.wait_closed.send(sender=None, token=token, reason="answered", now=time.time())
        return Delivery(self.outcome)

    def actions_of(self, run_id: str, step: str, form: dict[str, Any]) -> tuple[list[Any], str]:
        self.on_preview()
        window = form.get("window", "now")
        return action(window), digest(window)


def action(window: str = "now") -> list[dict[str, Any]]:
    return [{"step": "deploy", "item": None, "config": {"window": window}, "sentence": "Deploys", "irreversible": True}]


def digest(window: str = "now") -> str:
    return f"digest-of-{window}"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    from approvals import actions
    from runs import preview

    stand_in = Engine()
    monkeypatch.setattr(actions, "deliver", stand_in.deliver)
    monkeypatch.setattr(preview, "actions_of", stand_in.actions_of)
    yield stand_in


@dataclass
class World:
    users: dict[str, User]
    run: Run

    def actor(self, name: str, kind: Any = "user") -> Actor:
        return Actor(kind, name, User.objects.get(username=name))

    def ask(
        self, *, step: str = "approve", expires_at: float | None = None, now: float | None = None, **spec: Any
    ) -> Any:
        """Open a wait as the engine does; answers the request."""
        from approvals.models import ApprovalRequest
        from runs import signals

        token = f"token-{step}-{ApprovalRequest.objects.count()}"
        full = {
            "title": "Deploy v1",
            "summary": "",
            "actions": action(),
            "digest": digest(),
            "irreversible": True,
            **spec,
        }
        full.setdefault("reviewers", {})
        signals.wait_opened.send(
            sender=None, run_id=self.run.pk, step=step, item=-1, pass_no=1, token=token, kind="approval", spec=full,
            expires_at=expires_at, now=now if now is not None else time.time(),
        )  # fmt: skip
        return ApprovalRequest.objects.get(token=token)


def build_world() -> World:
    """Rows straight into the tables: one run in the folder `payments`."""
    users = {n: User.objects.create_user(n) for n in ("rita", "rolf", "remy", "olga", "adam", "vera", "otto")}
    for name in ("rita", "rolf", "remy", "olga", "adam"):
        Grant.objects.create(user=users[name], folder="payments", role="reviewer")
    Grant.objects.create(user=users["vera"], folder="payments", role="viewer")
    Grant.objects.create(user=users["otto"], folder="elsewhere", role="reviewer")
    users["rolf"].groups.add(Group.objects.create(name="managers"))
    flow = Flow.objects.create(slug="release", folder="payments")
    release = Release.objects.create(
        flow=flow, version="1.0.0", language=1, source="", plan_json=EMPTY, checksum="", revision=1,
        released_by=users["adam"],
    )  # fmt: skip
    run = Run.objects.create(
        flow=flow, release=release, status="waiting", starter=users["olga"], created_at=time.time()
    )
    return World(users, run)


@pytest.fixture
def world(db: None) -> World:
    return build_world()
