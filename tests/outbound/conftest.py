"""A database of each kind, an endpoint, an admin, and runs whose history a test writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.definition.plan import Plan, StepPlan
from flows.models import Flow, Release
from resources.access import Actor
from resources.ids import ulid
from resources.models import Connection
from runs.models import Delivery, Run, RunEvent, Subscription
from runs.outbound.destinations import Wanted
from runs.outbound.duty import Outbox
from runs.outbound.subscriptions import Made, create_subscription
from tests.engine.conftest import database
from tests.outbound.receiver import Endpoint, endpoint
from tests.resources.conftest import make_user

__all__ = ["database"]


@pytest.fixture
def receiver() -> Iterator[Endpoint]:
    with endpoint() as here:
        yield here


@pytest.fixture
def admin(database: str, receiver: Endpoint) -> Actor:
    """Also a connection `local` to the endpoint, which allows loopback."""
    settings = {"base_url": receiver.url, "allow_networks": ["127.0.0.0/8"]}
    Connection.objects.create(name="local", kind="http", settings=settings)
    return Actor.of_user(make_user("ada", "admin"))


@pytest.fixture
def subscribe(admin: Actor) -> Callable[..., Made]:
    def make(name: str = "ops", *types: str, **wanted: Any) -> Made:
        wanted = {"connection": "local", "path": "/"} | wanted
        made = create_subscription(actor=admin, name=name, wanted=Wanted(types=types or ("*",), **wanted))
        Subscription.objects.update(since=0)  # the tests date their events as they like
        return made

    return make


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    made = Outbox()
    yield made
    made.finish()


def make_flow(slug: str = "release-service", folder: str = "payments") -> Flow:
    plan = Plan(1, slug, slug, (StepPlan("build", "function", {"code": "1"}),), folder=folder)
    flow = Flow.objects.create(slug=slug, title=slug, folder=folder)
    made = {"plan_json": plan.to_json(), "checksum": plan.checksum, "language": 1}
    flow.live = Release.objects.create(flow=flow, version="1.2.0", source="", revision=1, **made)
    flow.save(update_fields=["live"])
    return flow


def make_run(flow: Flow, *types: str, ended_at: float | None = None, **data: Any) -> Run:
    """With one entry of its history for each of `types`."""
    now, release = time.time(), flow.live
    assert release is not None
    status = "running" if ended_at is None else "succeeded"
    run = Run.objects.create(
        id=ulid(), flow=flow, release=release, status=status, created_at=ended_at or now, ended_at=ended_at
    )
    for type_ in types:
        tell(run, type_, **data)
    return run


def tell(run: Run, type_: str, *, at: float | None = None, **data: Any) -> RunEvent:
    run.seq += 1
    run.save(update_fields=["seq"])
    step = "build" if type_.startswith("step.") else ""
    when = time.time() if at is None else at
    return RunEvent.objects.create(run=run, seq=run.seq, type=type_, step=step, at=when, actor="ada", data=data)


def turn(outbox: Outbox, until: Callable[[], Any] | None = None, seconds: float = 200.0) -> None:
    """Turns of the duty until `until` holds; by default until nothing is due or under way."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = time.time()
        outbox.run(now)
        quiet = not Delivery.objects.filter(wake_at__lte=now + 40).exists()
        if until() if until is not None else (quiet and not outbox.busy and read_up()):
            return
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {list(Delivery.objects.values('type', 'status', 'last_error'))}")


def read_up() -> bool:
    last = RunEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    return not Subscription.objects.filter(cursor__lt=last).exists()
