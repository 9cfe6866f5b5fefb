"""Every change of a subscription. Admins only; each change is audited, and no secret ever is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from resources import audit, usage
from resources.access import Actor, require
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.models import Role
from resources.names import check_slug
from runs import clock
from runs.models import Delivery, Subscription
from runs.outbound import keys, signing
from runs.outbound.destinations import Wanted, check, check_address
from runs.outbound.history import id_before
from runs.outbound.types import TEST


@dataclass(frozen=True, slots=True)
class Made:
    """`secret`: shown this once. Empty where the caller brought it along."""

    subscription: Subscription
    secret: str


def create_subscription(*, actor: Actor, name: str, wanted: Wanted, secret: str = "") -> Made:
    """From now on, events that happen are sent. Whoever makes it owns it: it sees what they may view.

    `secret`: `whsec_…`, or empty for a fresh one. Raises NotAllowed, BadInput (`address_refused` where nothing would
    ever be sent to the address), Conflict `subscription_exists`.
    """
    _require_person(actor)
    check_slug(name)
    check_address(wanted)
    return _create(actor, name, wanted, secret)


@transaction.atomic
def _create(actor: Actor, name: str, wanted: Wanted, secret: str) -> Made:
    if name == "new":
        raise BadInput("new is a page's name.", details=[{"path": "name", "message": "Choose another name."}])
    check(wanted)
    key = _checked_secret(secret) or keys.fresh()
    clock.measure()  # by the clock that dates the history
    now = clock.now()
    fields = {
        **wanted.row(), "owner": actor.user, "key": keys.seal(key, name), "key_last4": key[-4:], "since": now,
        "cursor": id_before(now), "created_at": now, "updated_at": now,
    }  # fmt: skip
    row, made = Subscription.objects.get_or_create(name=name, defaults=fields)
    if not made:
        raise Conflict(f"There is a subscription {name} already.", hint="Edit it.", code="subscription_exists")
    _record(actor, "created", name, wanted.row())
    return Made(row, "" if secret else key)


def update_subscription(*, actor: Actor, name: str, wanted: Wanted) -> Subscription:
    """Holds for events that are read from now on. Whoever saves it owns it. Raises NotAllowed, NotFound, BadInput."""
    _require_person(actor)
    check_address(wanted)
    return _update(actor, name, wanted)


@transaction.atomic
def _update(actor: Actor, name: str, wanted: Wanted) -> Subscription:
    row = _locked(name)
    check(wanted)
    after = wanted.row()
    before = {field: getattr(row, field) for field in after}
    for field, value in after.items():
        setattr(row, field, value)
    row.owner, row.updated_at = actor.user, clock.now()
    row.save(update_fields=[*after, "owner", "updated_at"])
    _record(actor, "updated", name, {"before": before, "after": after})
    return row


@transaction.atomic
def delete_subscription(*, actor: Actor, name: str) -> None:
    """With its deliveries. Raises NotAllowed, NotFound."""
    require(actor, Role.ADMIN)
    row = _locked(name)
    row.deliveries.all().delete()
    row.delete()
    _record(actor, "deleted", name, {})


@transaction.atomic
def pause_subscription(*, actor: Actor, name: str, note: str = "") -> Subscription:
    """Nothing is sent; events are kept and sent at resume. Raises NotAllowed, NotFound, Conflict `not_possible`."""
    require(actor, Role.ADMIN)
    row = _locked(name)
    if not row.enabled:
        raise Conflict(f"{name} is paused already.", code="not_possible")
    row.enabled, row.note = False, note.strip()[:300]
    row.save(update_fields=["enabled", "note"])
    _record(actor, "paused", name, {"note": row.note})
    return row


@transaction.atomic
def resume_subscription(*, actor: Actor, name: str) -> Subscription:
    """What happened meanwhile is sent. Raises NotAllowed, NotFound, Conflict `not_possible`."""
    require(actor, Role.ADMIN)
    row = _locked(name)
    if row.enabled:
        raise Conflict(f"{name} is not paused.", code="not_possible")
    row.enabled, row.note = True, ""
    row.save(update_fields=["enabled", "note"])
    # what was due meanwhile has its whole window from now on, as if it had become due now
    now = clock.now()
    row.deliveries.filter(status=Delivery.Status.PENDING, owner="").update(since=now, wake_at=now)
    _record(actor, "resumed", name, {})
    return row


@transaction.atomic
def rotate_secret(*, actor: Actor, name: str, secret: str = "") -> Made:
    """For 24 hours the key before signs too. Raises NotAllowed, NotFound, BadInput."""
    require(actor, Role.ADMIN)
    row = _locked(name)
    key = _checked_secret(secret) or keys.fresh()
    now = clock.now()
    row.old_key, row.old_until = bytes(row.key), now + keys.OVERLAP
    row.key, row.key_last4, row.updated_at = keys.seal(key, name), key[-4:], now
    row.save(update_fields=["old_key", "old_until", "key", "key_last4", "updated_at"])
    _record(actor, "rotated", name, {})
    return Made(row, "" if secret else key)


@transaction.atomic
def send_test(*, actor: Actor, name: str) -> Delivery:
    """One `orchestra.test.v1`, sent like any other. Raises NotAllowed, NotFound, Conflict `paused`."""
    require(actor, Role.ADMIN)
    row = _locked(name)
    if not row.enabled:
        raise Conflict(f"{name} is paused.", hint="Resume it first.", code="paused")
    now = clock.now()
    delivery = Delivery.objects.create(subscription=row, type=TEST, since=now, wake_at=now, created_at=now)
    _record(actor, "tested", name, {"delivery": delivery.pk})
    return delivery


def list_subscriptions() -> QuerySet[Subscription]:
    """By name, with `pending` and `dead` counted, without their keys."""
    return (
        Subscription.objects.defer("key", "old_key")
        .select_related("owner")
        .annotate(
            pending=Count("deliveries", filter=Q(deliveries__wake_at__isnull=False)),
            dead=Count("deliveries", filter=Q(deliveries__status="dead")),
        )
        .order_by("name")
    )


def get_subscription(name: str) -> Any:
    """As list_subscriptions gives it. Raises NotFound."""
    row = list_subscriptions().filter(name=name).first()
    if row is None:
        raise _missing(name)
    return row


def using_connection(name: str) -> list[usage.Use]:
    """Registered with resources.usage."""
    rows = Subscription.objects.filter(connection=name).order_by("name")
    return [
        usage.Use(f"subscription {found}", f"/subscriptions/{found}") for found in rows.values_list("name", flat=True)
    ]


def count_connections() -> dict[str, int]:
    """{connection: subscriptions that go through it}. Registered with resources.usage."""
    rows = Subscription.objects.exclude(connection="").values("connection").annotate(count=Count("pk"))
    return dict(rows.values_list("connection", "count"))


def _require_person(actor: Actor) -> None:
    require(actor, Role.ADMIN)
    if actor.user is None:
        raise NotAllowed("A subscription is owned by a person.", hint="Sign in, or use a person's token.")


def _checked_secret(secret: str) -> str:
    try:
        if secret:
            signing.key_of(secret)
    except ValueError as error:
        raise BadInput(str(error), details=[{"path": "secret", "message": str(error)}]) from error
    return secret


def _locked(name: str) -> Subscription:
    row = Subscription.objects.select_for_update().filter(name=name).first()
    if row is None:
        raise _missing(name)
    return row


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no subscription {name}.", code="subscription_not_found")


def _record(actor: Actor, verb: str, name: str, data: dict[str, Any]) -> None:
    audit.record(actor=actor, action=f"subscription.{verb}", object_type="subscription", object_id=name, data=data)
