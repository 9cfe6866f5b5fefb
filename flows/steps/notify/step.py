"""notify: tells people. In the product exactly once; outside never twice by itself, however often it is attempted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from django.db import OperationalError, transaction
from pydantic import BaseModel

from flows.steps.base import Action, Done, Fail, Family, Json, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.connecting import Changed, as_named
from flows.steps.notify import channels
from flows.steps.notify.config import NotifyConfig
from flows.steps.notify.sending import outside, sender_of
from flows.steps.pinning import pinned
from resources import veiling
from resources.not_sent import NotSent
from resources.notices import deliveries, people

_SHOWN = 200  # characters of recipients in a sentence


class NotifyFamily(Family):
    name: ClassVar[str] = "notify"
    Config: ClassVar[type[BaseModel]] = NotifyConfig
    title: ClassVar[str] = "Notify"
    summary: ClassVar[str] = "Tells people: in the product, by e-mail, or by a chat or push service."
    icon: ClassVar[str] = "inbox"
    connection_kinds: ClassVar[tuple[str, ...]] = ("smtp", "apprise")
    honours_key: ClassVar[bool] = True

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(NotifyConfig, config)
        ready = config.model_dump(mode="json", exclude={"connection"})
        for name in ("channels", "digest"):
            if not ready[name]:
                del ready[name]  # what was approved before there were any has none
        if config.connection is None:
            return ready
        sender = channels.check(config.connection, connection, config.to, config.cc, bool(config.attachments))
        return {**ready, "from": sender} if sender else ready

    def more_connections(self, config: BaseModel) -> list[str]:
        return [channel.connection for channel in cast(NotifyConfig, config).channels]

    def with_connections(
        self, ready: dict[str, Json], found: Sequence[tuple[dict[str, Json], BaseModel]]
    ) -> dict[str, Json]:
        return {**ready, "channels": channels.joined(ready, found)}

    def connections(self, action: Action) -> list[Mapping[str, Json]]:
        return [way.connection for way in channels.ways_of(action)]

    def pin(self, config: dict[str, Json]) -> dict[str, Json]:
        """Attachments by what they are, not only by their name: people approve these very bytes."""
        config["attachments"] = [pinned(one) for one in config["attachments"]]
        return config

    def describe(self, action: Action) -> str:
        config, ways = action.config, channels.ways_of(action)
        who = config["people"] or {"users": [], "groups": []}
        names = [*who["users"], *(f"the group {name}" for name in who["groups"])]
        to = [*names, *(one for way in ways for one in way.recipients)]
        listed = ", ".join(to[:5]) + (f" and {len(to) - 5} more" if len(to) > 5 else "")
        through = " and ".join(dict.fromkeys(str(way.connection["name"]) for way in ways))
        by = f" by the connection{'s' if ' and ' in through else ''} {through}" if through else ""
        return f"Tells{' ' + listed[:_SHOWN] if listed else ''}{by}: {config['title']}"

    def execute(self, ctx: StepContext) -> Outcome:
        try:
            ways = [(way, as_named(way.connection)) for way in channels.ways_of(ctx.action)]
            failed = _in_product(ctx) if ctx.action.config["people"] else []
            failed += outside(ctx, ways)
        except Refused as e:
            return Fail(StepError("refused", str(e)))
        except Changed as e:
            return Fail(StepError("conflict", str(e)))
        except OperationalError as e:
            return Retry(StepError("internal", f"The database did not answer: {e}"))
        return _ended(ctx, failed)


def _ended(ctx: StepContext, failed: Sequence[NotSent]) -> Outcome:
    """What may still go out is tried again as the step's policy says; then `must` decides."""
    config = ctx.action.config
    for one in failed:
        if one.again and (config["repeat_unknown"] or not one.unknown) and (config["must"] or ctx.again(one.cls)):
            # without a next attempt this is how it ends, and only `must` makes it a failure
            return Retry(StepError(one.cls, one.message), acted=one.unknown)
    if failed and config["must"]:
        return Fail(StepError("unknown_outcome" if failed[0].unknown else failed[0].cls, failed[0].message))
    sent = deliveries.of_step(ctx.key)
    return Done({"failed": sum(row["status"] not in ("sent", "waiting") for row in sent), "channels": sent})


def _in_product(ctx: StepContext) -> list[NotSent]:
    """What failed. The rows of all people and the record of it are one transaction."""
    config, sender = ctx.action.config, sender_of(ctx)
    ids, unknown = people.find(**config["people"])
    problem = ""
    if len(ids) > people.MAX_PEOPLE:
        problem, ids = f"These are more than {people.MAX_PEOPLE} people; nobody was told.", []
    elif not ids:
        problem = f"Nobody was told: there is no active person in {', '.join(unknown) or 'these groups'}."
    with transaction.atomic():
        before = deliveries.begin(
            sender, channel="", kind=deliveries.IN_APP, recipients=len(ids), now=ctx.now, repeat=True
        )
        if before == "sent":
            return []
        shade = veiling.of_run(ctx.run_id)  # what is read here is read like the run's page
        title, text = shade.text(config["title"]), shade.text(config["text"])
        people.tell(ids, key=ctx.key, kind="message", title=title, text=text, url=f"/runs/{ctx.run_id}", now=ctx.now)
        refused = [{"to": name, "said": "unknown, or not active"} for name in unknown]
        status = "failed" if problem else "sent"
        deliveries.end(sender, channel="", status=status, now=ctx.now, error=problem, refused=refused)
    if problem:
        ctx.log(f"warning: {problem}")
    return [NotSent("input", problem)] if problem else []
