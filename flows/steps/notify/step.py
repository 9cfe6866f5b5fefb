"""notify: tells people. In the product exactly once; outside never twice by itself, however often it is attempted."""

from __future__ import annotations

from typing import ClassVar, cast

from django.db import OperationalError, transaction
from pydantic import BaseModel

from flows.steps.base import Action, Done, Fail, Family, Json, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.connecting import Changed, connection_of
from flows.steps.notify.config import MAX_RECIPIENTS, NotifyConfig
from flows.steps.notify.sending import deliver, sender_of
from flows.steps.pinning import pinned
from resources.kinds.notify import AppriseSettings, SmtpSettings
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
        if config.connection is None:
            return ready
        if isinstance(connection, SmtpSettings):
            if not 1 <= len(config.to) + len(config.cc) <= MAX_RECIPIENTS:
                raise Refused(f"An e-mail goes to 1 to {MAX_RECIPIENTS} addresses, `to` and `cc` together")
            return {**ready, "from": connection.sender}
        if not isinstance(connection, AppriseSettings):
            raise Refused(f"The connection {config.connection!r} carries no messages (smtp or apprise)")
        if config.to or config.cc or config.attachments:
            raise Refused("to, cc and attachments go with an smtp connection; an apprise one names its place itself")
        return ready

    def pin(self, config: dict[str, Json]) -> dict[str, Json]:
        """Attachments by what they are, not only by their name: people approve these very bytes."""
        config["attachments"] = [pinned(one) for one in config["attachments"]]
        return config

    def describe(self, action: Action) -> str:
        config = action.config
        who = config["people"] or {"users": [], "groups": []}
        names = [*who["users"], *(f"the group {name}" for name in who["groups"])]
        to = [*names, *config["to"], *config["cc"]]
        listed = ", ".join(to[:5]) + (f" and {len(to) - 5} more" if len(to) > 5 else "")
        by = f" by the connection {action.connection['name']}" if action.connection else ""
        return f"Tells{' ' + listed[:_SHOWN] if listed else ''}{by}: {config['title']}"

    def execute(self, ctx: StepContext) -> Outcome:
        try:
            ref = connection_of(ctx.action) if ctx.action.connection else None
            failed = _in_product(ctx) if ctx.action.config["people"] else None
            if ref is not None and (outside := deliver(ctx, ref)) is not None:
                ctx.log(f"warning: {outside.message}")
                failed = outside
        except Refused as e:
            return Fail(StepError("refused", str(e)))
        except Changed as e:
            return Fail(StepError("conflict", str(e)))
        except OperationalError as e:
            return Retry(StepError("internal", f"The database did not answer: {e}"))
        return _ended(ctx, failed)


def _ended(ctx: StepContext, failed: NotSent | None) -> Outcome:
    """What may still go out is tried again as the step's policy says; then `must` decides."""
    config = ctx.action.config
    if failed is not None and failed.again and (config["repeat_unknown"] or not failed.unknown):
        # without a next attempt this is how it ends, and only `must` makes it a failure
        if config["must"] or ctx.again(failed.cls):
            return Retry(StepError(failed.cls, failed.message), acted=failed.unknown)
    elif failed is not None and config["must"]:
        return Fail(StepError("unknown_outcome" if failed.unknown else failed.cls, failed.message))
    sent = deliveries.of_step(ctx.key)
    return Done({"failed": sum(row["status"] != "sent" for row in sent), "channels": sent})


def _in_product(ctx: StepContext) -> NotSent | None:
    """The rows of all people and the record of it are one transaction."""
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
            return None
        people.tell(
            ids, key=ctx.key, kind="message", title=config["title"], text=config["text"], url=f"/runs/{ctx.run_id}",
            now=ctx.now,
        )  # fmt: skip
        refused = [{"to": name, "said": "unknown, or not active"} for name in unknown]
        status = "failed" if problem else "sent"
        deliveries.end(sender, channel="", status=status, now=ctx.now, error=problem, refused=refused)
    if problem:
        ctx.log(f"warning: {problem}")
        return NotSent("input", problem)
    return None
