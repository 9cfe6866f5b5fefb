"""One delivery to a webhook trigger: what it means is decided by flows.webhooks, and done here."""

from __future__ import annotations

import hashlib
from functools import partial

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpRequest

from flows.definition.bindings import Place
from flows.definition.plan import Trigger
from flows.headline import SLUG
from flows.models import Flow, Release
from flows.plans import Live, live_plan
from flows.webhooks import Accepted, Answered, BadSignature, Delivery, Ignored, receive
from resources import artifacts, ids
from resources.access import Actor
from resources.errors import NotFound, TooLarge
from resources.proxies import address_of
from resources.secrets import reveal, reveal_all
from runs import actions, clock, masks


def find(slug: str, name: str) -> tuple[Live, Trigger]:
    """The live release and its webhook. Raises NotFound."""
    live = live_plan(slug) if SLUG.fullmatch(slug) else None
    found = live.plan.trigger(name) if live else None
    if live is None or found is None or found.kind != "webhook":
        raise NotFound(
            "There is no live flow with a webhook of this name.", hint="Check the address on the flow's page."
        )
    return live, found


def decide(live: Live, trigger: Trigger, request: HttpRequest) -> Ignored | Answered | Accepted:
    """Raises what flows.webhooks.receive does."""
    delivery = Delivery(
        headers={name.lower(): value for name, value in request.headers.items()},
        query={name: values[-1] for name, values in request.GET.lists()},
        body=body_of(request),
        address=address_of(request),
    )
    decided = partial(
        receive,
        live.plan,
        trigger,
        delivery,
        max_bytes=settings.MAX_BODY_BYTES,
        now=clock.now(),
        new_id=partial(_file_id, live.flow_id, trigger.name),
    )
    name = trigger.config.get("secret")
    if not isinstance(name, str):
        return decided(secrets=[])
    try:
        return decided(secrets=_current(name))
    except BadSignature:
        former = values_of(name)[1:]  # asked for only now: a query less for everybody else
        if not former:
            raise
        return decided(secrets=former)


def start(live: Live, trigger: Trigger, accepted: Accepted, request: HttpRequest) -> actions.Started:
    """Raises what runs.actions.start_run does, and backends.errors.Unreachable. Files are kept only with a run that
    is new. Nothing that is kept holds a secret that the flow knows."""
    masker = masks.of_plan(live.plan, Place(live.slug))
    begin = partial(
        actions.start_run,
        actor=Actor.trigger(f"{live.slug}/{trigger.name}", live.folder, address_of(request)),
        flow=Flow(pk=live.flow_id, slug=live.slug, folder=live.folder),
        release=Release(pk=live.release_id, flow_id=live.flow_id),
        input=masker.tree(accepted.input),
        trigger=masker.tree(accepted.trigger),
        idempotency_key=accepted.dedupe_key,
        source=f"hook:{trigger.name}",
    )
    if not accepted.files:
        return begin()
    with transaction.atomic():  # whoever works on the run finds its files
        started = begin()
        for kept in accepted.files if started.created else ():
            artifacts.write(
                [masker.data(kept.file.data)],
                id=kept.id,
                content_type=kept.file.content_type or "application/octet-stream",
                run_id=started.run.pk,
                folder=live.folder,
                name=kept.file.name,
            )
    return started


def values_of(name: str) -> list[str]:
    """Every value of a secret that is valid now, the current one first; none where nobody set it."""
    try:
        return reveal_all(name)
    except NotFound:
        return []


def _current(name: str) -> list[str]:
    try:
        return [reveal(name)]
    except NotFound:
        return []


def body_of(request: HttpRequest) -> bytes:
    """Raises TooLarge before a byte more than allowed is looked at."""
    too_large = TooLarge(f"A body may have {settings.MAX_BODY_BYTES} bytes.", hint="Send less, or a link to it.")
    try:
        body = request.body
    except RequestDataTooBig:
        raise too_large from None
    if len(body) > settings.MAX_BODY_BYTES:
        raise too_large
    return body


def _file_id(flow_id: int, trigger: str, key: str | None, number: int) -> str:
    """Of the same delivery the same id, so that a repeat has the same input; without a key each is its own."""
    if key is None:
        return ids.new_id()
    mark = hashlib.sha256(f"{flow_id}/{trigger}/{number}/{key}".encode()).digest()
    return ids.ulid(int.from_bytes(mark[:5], "big") / 1000, int.from_bytes(mark[5:15], "big"))
