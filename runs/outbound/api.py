"""API v1: subscriptions to events and their deliveries. Admins only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Field, P, Path, Router, Schema, Status
from ninja.params.functions import Query

from resources.access import require
from resources.api import Input, Text, actor_of, declared, iso, moment, name_of
from resources.models import Role
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT
from runs.models import Delivery
from runs.outbound import replay, subscriptions
from runs.outbound.destinations import Wanted
from runs.outbound.letters import content_of, message_id
from runs.outbound.pages import delivery_of, page_of_deliveries

router = Router(tags=["events"])
DeliveryId = Annotated[int, P(ge=1, le=2**62)]
Names = Annotated[list[Text], Field(default_factory=list, max_length=50)]


class WantedIn(Input):
    """Where to and what. Give either `url` (public addresses) or `connection`, an http connection, with a `path`."""

    url: Text = Field("", max_length=500)
    connection: Text = Field("", max_length=64)
    path: Text = Field("", max_length=500, description="Below the connection's address.")
    types: list[Text] = Field(
        min_length=1, max_length=50, description="Patterns: `run.failed`, `approval.*`, `*`.", examples=[["run.failed"]]
    )
    folders: Names = Field(description="With all below them; empty: all.")
    flows: Names = Field(description="Slugs; empty: all.")
    include_output: bool = False

    def wanted(self) -> Wanted:
        """As the actions take it."""
        return Wanted(
            types=tuple(self.types),
            url=self.url,
            connection=self.connection,
            path=self.path,
            folders=tuple(self.folders),
            flows=tuple(self.flows),
            include_output=self.include_output,
        )


class SubscriptionIn(WantedIn):
    name: Text = Field(max_length=63, description="Lower-case letters, digits and -; stays for ever.")
    secret: Text = Field("", max_length=200, description="`whsec_…`; left out, a fresh one is made and shown once.")


class SubscriptionSecretIn(Input):
    secret: Text = Field("", max_length=200)


class SubscriptionPauseIn(Input):
    note: Text = Field("", max_length=300)


class DeliveryReplayIn(Input):
    """One of the three: `deliveries` (ids), `since` (a point in the history), or else the dead letters of `types`."""

    deliveries: list[DeliveryId] = Field(default_factory=list, max_length=replay.MOST_IDS)
    since: Text | None = Field(None, max_length=40, description="RFC 3339, such as 2026-01-31T08:00:00Z.")
    types: Names = Field(description="Patterns; empty: all.")
    dry_run: bool = Field(False, description="Only for dead letters: count them.")


class SubscriptionOut(Schema):
    name: str
    url: str
    connection: str
    path: str
    types: list[str]
    folders: list[str]
    flows: list[str]
    include_output: bool
    enabled: bool
    note: str
    owner: str | None
    secret_last4: str
    pending: int
    dead: int
    created_at: str
    updated_at: str


class MadeOut(Schema):
    subscription: SubscriptionOut
    secret: str = Field(description="Shown this once; empty where you brought your own.")


class SubscriptionsOut(Schema):
    items: list[SubscriptionOut]
    next_cursor: None = None


class TryOut(Schema):
    at: str
    status: int | None
    error: str
    seconds: float


class DeliveryOut(Schema):
    id: int
    webhook_id: str
    type: str
    status: str
    run: str | None
    attempts: int
    next_attempt_at: str | None
    last_status: int | None
    last_error: str
    created_at: str
    ended_at: str | None


class DeliveryFullOut(DeliveryOut):
    request: Any = Field(description="The CloudEvent as it is sent.")
    response_excerpt: str
    tries: list[TryOut]


class DeliveriesOut(Schema):
    items: list[DeliveryOut]
    next_cursor: str | None


class ReplayedOut(Schema):
    count: int | None = Field(description="Deliveries that go out again; null for a point in the history.")


@router.get("/subscriptions", response=declared((200, SubscriptionsOut)))
def list_subscriptions(request: HttpRequest) -> dict[str, Any]:
    """All subscriptions by name."""
    require(actor_of(request), Role.ADMIN)
    return {"items": [_subscription(row) for row in subscriptions.list_subscriptions()]}


@router.post("/subscriptions", response=declared((201, MadeOut), errors=(409,)))
def create_subscription(request: HttpRequest, body: SubscriptionIn) -> Status[dict[str, Any]]:
    """Events that happen from now on are sent. The answer shows the signing secret this once."""
    made = subscriptions.create_subscription(
        actor=actor_of(request), name=body.name, wanted=body.wanted(), secret=body.secret
    )
    return Status(201, _made(made))


@router.get("/subscriptions/{name}", response=declared((200, SubscriptionOut)))
def get_subscription(request: HttpRequest, name: str) -> dict[str, Any]:
    """One subscription, with how many deliveries are pending and dead."""
    require(actor_of(request), Role.ADMIN)
    return _subscription(subscriptions.get_subscription(name))


@router.put("/subscriptions/{name}", response=declared((200, SubscriptionOut)))
def update_subscription(request: HttpRequest, name: str, body: WantedIn) -> dict[str, Any]:
    """Replace what it wants. You own it from then on: it sees what you may view."""
    subscriptions.update_subscription(actor=actor_of(request), name=name, wanted=body.wanted())
    return _subscription(subscriptions.get_subscription(name))


@router.delete("/subscriptions/{name}", response=declared((204, None)))
def delete_subscription(request: HttpRequest, name: str) -> Status[None]:
    """With its deliveries, pending and dead ones included."""
    subscriptions.delete_subscription(actor=actor_of(request), name=name)
    return Status(204, None)


@router.post("/subscriptions/{name}/pause", response=declared((200, SubscriptionOut), errors=(409,)))
def pause_subscription(request: HttpRequest, name: str, body: SubscriptionPauseIn | None = None) -> dict[str, Any]:
    """Nothing is sent until resume; nothing is lost."""
    subscriptions.pause_subscription(actor=actor_of(request), name=name, note=body.note if body else "")
    return _subscription(subscriptions.get_subscription(name))


@router.post("/subscriptions/{name}/resume", response=declared((200, SubscriptionOut), errors=(409,)))
def resume_subscription(request: HttpRequest, name: str) -> dict[str, Any]:
    """Send what happened meanwhile."""
    subscriptions.resume_subscription(actor=actor_of(request), name=name)
    return _subscription(subscriptions.get_subscription(name))


@router.post("/subscriptions/{name}/secret", response=declared((200, MadeOut)))
def rotate_secret(request: HttpRequest, name: str, body: SubscriptionSecretIn | None = None) -> dict[str, Any]:
    """A new signing secret; for 24 hours the one before signs, too."""
    return _made(subscriptions.rotate_secret(actor=actor_of(request), name=name, secret=body.secret if body else ""))


@router.post("/subscriptions/{name}/test", response=declared((202, DeliveryOut), errors=(409,)))
def send_test(request: HttpRequest, name: str) -> Status[dict[str, Any]]:
    """Send `orchestra.test.v1`; what came of it is in the delivery that is answered."""
    return Status(202, _delivery(subscriptions.send_test(actor=actor_of(request), name=name)))


@router.post("/subscriptions/{name}/replay", response=declared((200, ReplayedOut), errors=(409,)))
def replay_subscription(request: HttpRequest, name: str, body: DeliveryReplayIn) -> dict[str, Any]:
    """Send again; every event keeps its webhook-id."""
    actor = actor_of(request)
    if body.since is not None:
        replay.replay_since(actor=actor, name=name, at=moment(body.since, "since"))
        return {"count": None}
    if body.deliveries:
        return {"count": replay.replay_deliveries(actor=actor, name=name, deliveries=body.deliveries)}
    return {"count": replay.replay_dead(actor=actor, name=name, types=body.types, dry_run=body.dry_run)}


@router.get("/subscriptions/{name}/deliveries", response=declared((200, DeliveriesOut)))
def list_deliveries(
    request: HttpRequest,
    name: str,
    status: Literal["pending", "delivered", "dead"] | None = None,
    cursor: str | None = Query(None, max_length=200),
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Any]:
    """Newest first. Delivered ones are listed for a week."""
    require(actor_of(request), Role.ADMIN)
    items, following = page_of_deliveries(name, status=status or "", cursor=cursor, limit=limit)
    return {"items": [_delivery(row) for row in items], "next_cursor": following}


@router.get("/subscriptions/{name}/deliveries/{delivery_id}", response=declared((200, DeliveryFullOut)))
def get_delivery(request: HttpRequest, name: str, delivery_id: Path[DeliveryId]) -> dict[str, Any]:
    """One delivery with what is sent, what was answered, and each attempt."""
    require(actor_of(request), Role.ADMIN)
    row = delivery_of(name, delivery_id)
    tries = [{**one, "at": iso(one["at"])} for one in row.tries]
    return {**_delivery(row), "request": content_of(row), "response_excerpt": row.excerpt, "tries": tries}


def _subscription(row: Any) -> dict[str, Any]:
    same = ("name", "url", "connection", "path", "types", "folders", "flows", "include_output", "enabled", "note")
    return {
        **{field: getattr(row, field) for field in same},
        "owner": name_of(row.owner),
        "secret_last4": row.key_last4,
        "pending": row.pending,
        "dead": row.dead,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _made(made: subscriptions.Made) -> dict[str, Any]:
    row = subscriptions.get_subscription(made.subscription.name)
    return {"subscription": _subscription(row), "secret": made.secret}


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": row.pk,
        "webhook_id": message_id(row),
        "type": row.type,
        "status": row.status,
        "run": row.event.run_id if row.event else None,
        "attempts": row.attempts,
        "next_attempt_at": iso(row.wake_at),
        "last_status": row.last_status,
        "last_error": row.last_error,
        "created_at": iso(row.created_at),
        "ended_at": iso(row.ended_at),
    }
