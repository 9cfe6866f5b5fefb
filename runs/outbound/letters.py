"""From a claimed delivery to the request that carries it, or to the reason why nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2
from django.conf import settings

from resources import connections, http_auth, http_client
from resources.access import Actor, can
from resources.connection_settings import join_url
from resources.errors import OrchestraError
from resources.masking import Masker
from resources.models import Role
from runs.models import Delivery, RunEvent, Subscription
from runs.outbound import keys, signing
from runs.outbound.envelope import CONTENT_TYPE, Entry, body, event, event_id, trial_event
from runs.outbound.types import PUBLISHED
from runs.sensitive.rows import of_run

#: one a subscription: a slow endpoint fills no pool but its own
_clients: dict[int, httpx2.Client] = {}


class Withheld(OrchestraError):
    """Nothing is sent: the owner of the subscription may no longer see this, or it is published no more."""

    code = "withheld"
    status = 403


@dataclass(frozen=True, slots=True)
class Letter:
    client: httpx2.Client
    request: httpx2.Request
    masker: Masker
    ref: connections.ConnectionRef | None = None  # whose credentials it carries


def message_id(delivery: Delivery) -> str:
    """The same for every attempt and every replay."""
    if delivery.event is None:
        return f"evt_test_{delivery.pk}"
    return event_id(delivery.event.run_id, delivery.event.seq)


def content_of(delivery: Delivery) -> dict[str, Any]:
    """The CloudEvent. `delivery.event` has its run, flow and release at hand."""
    subscription, row = delivery.subscription, delivery.event
    base_url = settings.PUBLIC_URL
    if row is None:
        ids = {"message_id": message_id(delivery), "subscription": subscription.name}
        return trial_event(**ids, at=delivery.created_at, base_url=base_url)
    if row.type not in PUBLISHED:
        raise Withheld(f"{row.type} is not published any more.")
    return event(_entry(row), base_url=base_url, include_output=subscription.include_output)


def write(delivery: Delivery, now: float) -> Letter:
    """The signed request. Raises Withheld; OrchestraError, httpx2.InvalidURL or ValueError where it cannot be made."""
    subscription = delivery.subscription
    _require_sight(delivery)
    content, secrets = body(content_of(delivery)), keys.of(subscription, now)
    headers = {"content-type": CONTENT_TYPE, **signing.headers(secrets, message_id(delivery), now, content)}
    client, url, ref = _address(subscription)
    request = client.build_request("POST", url, content=content, headers=headers)
    masker = Masker(secrets)
    if ref is not None:
        for value in http_auth.authorise(ref, request):
            masker.add(value)
    return Letter(client, request, masker, ref)


def _address(subscription: Subscription) -> tuple[httpx2.Client, str, connections.ConnectionRef | None]:
    if subscription.connection:
        ref = connections.resolve(subscription.connection)
        return http_client.http_client(ref), join_url(http_client.settings_of(ref).base_url, subscription.path), ref
    client = _clients.get(subscription.pk)
    if client is None:
        client = _clients[subscription.pk] = http_client.guarded_client()
    return client, subscription.url, None


def _require_sight(delivery: Delivery) -> None:
    row, owner = delivery.event, delivery.subscription.owner
    if row is None:
        return
    folder = row.run.flow.folder
    if not can(Actor.of_user(owner), Role.VIEWER, folder):
        raise Withheld(f"Not sent: {owner.get_username()}, who owns the subscription, may no longer view {folder!r}.")


def _entry(row: RunEvent) -> Entry:
    run = row.run
    veil = of_run(run)
    data = veil.told(row.step, row.item, row.data)
    if "output" in data:
        data = {**data, "output": veil.output(row.step, row.data["output"], row.item)}
    return Entry(
        run=run.pk,
        seq=row.seq,
        type=row.type,
        step=row.step,
        item=row.item,
        at=row.at,
        actor=row.actor,
        data=data,
        flow=run.flow.slug,
        folder=run.flow.folder,
        release=run.release.version,
    )
