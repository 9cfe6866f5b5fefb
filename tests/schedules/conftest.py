"""A flow with a schedule, and a clock that the test sets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flows.actions import create_flow, release_draft, save_draft
from flows.definition.cron import utc_text
from flows.models import Flow
from resources.access import Actor
from runs import clock, store
from runs.models import Run
from runs.schedules import firing
from runs.schedules.models import Schedule, ScheduledTime
from tests.engine.conftest import database
from tests.flows.conftest import author, person

__all__ = ["author", "database", "person"]

SOURCE = """\
flow: nightly
folder: team
title: Nightly numbers
input: {{type: object, properties: {{day: {{type: string}}, size: {{type: integer, maximum: 9}}}}}}
triggers:
  - manual: {{}}
{schedules}
steps:
  - id: rest
    sleep: 1h
"""


def at(text: str) -> float:
    """`2026-03-01T06:00` in UTC as epoch seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def source(*schedules: str) -> str:
    return SOURCE.format(schedules="\n".join(f"  - schedule: {{{s}}}" for s in schedules))


class Place:
    """The flow `nightly`, its schedule, and what a keeper does at a time."""

    def __init__(self, actor: Actor, time: Any) -> None:
        self.actor, self.time, self.minor = actor, time, 0

    def release(self, *schedules: str) -> Flow:
        text = source(*schedules)
        flow = Flow.objects.filter(slug="nightly").select_related("draft").first()
        if flow is None:
            create_flow(actor=self.actor, source=text)
        else:
            save_draft(actor=self.actor, slug="nightly", source=text, revision=flow.draft.revision)
        self.minor += 1
        release_draft(actor=self.actor, slug="nightly", version=f"1.{self.minor}.0", live=True)
        return Flow.objects.get(slug="nightly")

    def keep(self, moment: float | str) -> float | None:
        """One turn of the keeper's duty."""
        self.time.now = at(moment) if isinstance(moment, str) else moment
        return firing.turn(self.time.now)

    @property
    def schedule(self) -> Schedule:
        return Schedule.objects.get(name="schedule")

    def times(self) -> list[tuple[str, str]]:
        """(key, state) of all due times that were decided, by time."""
        return list(ScheduledTime.objects.order_by("due_at", "pk").values_list("key", "state"))

    def runs(self) -> list[str]:
        """What each run was scheduled for, by time."""
        return sorted(r.trigger["scheduled_at"] for r in Run.objects.all())

    def runs_of(self, name: str) -> list[str]:
        return sorted(r.trigger["scheduled_at"] for r in Run.objects.all() if r.trigger["name"] == name)

    def end(self, status: str = "succeeded") -> None:
        """All runs that go end so, as the engine would write it."""
        Run.objects.filter(ended_at=None).update(status=status, ended_at=self.time.now)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Time:
        now = at("2026-03-01T00:00")

    monkeypatch.setattr(clock, "now", lambda: Time.now)
    return Time


@pytest.fixture
def place(author: Actor, now: Any) -> Place:
    return Place(author, now)


@pytest.fixture
def operator(person: Callable[..., Any]) -> Actor:
    return Actor.of_user(person("olga", "operator", "team"))


@pytest.fixture(autouse=True)
def forget_plans() -> None:
    """A rolled back test gives its release's id to the next one."""
    store.plan_of.cache_clear()


def key(text: str) -> str:
    return utc_text(at(text))
