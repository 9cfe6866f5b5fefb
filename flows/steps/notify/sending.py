"""One channel of one step: what is sent, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.steps.base import Json, Refused, StepContext
from flows.steps.notify import mail
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.kinds.notify import AppriseSettings, SmtpSettings
from resources.not_sent import NotSent
from resources.notices import deliveries
from resources.notices.deliveries import Sender


@dataclass(frozen=True, slots=True)
class Sent:
    message_id: str = ""
    refused: tuple[Json, ...] = ()


def sender_of(ctx: StepContext) -> Sender:
    return Sender(ctx.key, ctx.run_id, ctx.step, ctx.item)


def deliver(ctx: StepContext, ref: ConnectionRef) -> NotSent | None:
    """Send by the connection unless that was done; the record says what became of it. What failed, or None."""
    sender, config = sender_of(ctx), ctx.action.config
    count = len(set(config["to"] + config["cc"])) if ref.kind == "smtp" else 1
    repeat = config["repeat_unknown"]
    before = deliveries.begin(sender, channel=ref.name, kind=ref.kind, recipients=count, now=ctx.now, repeat=repeat)
    if before == "sent":
        return None
    if before == "unknown":
        said = f"{ref.name}: an earlier attempt may have sent this, so it was not sent again."
        return NotSent("unknown_outcome", said, again=repeat, unknown=True)
    try:
        sent = _send(ctx, ref, config)
    except NotSent as error:
        status = "unknown" if error.unknown else "failed"
        deliveries.end(sender, channel=ref.name, status=status, now=ctx.now, error=error.message)
        return error
    deliveries.end(
        sender, channel=ref.name, status="sent", now=ctx.now, message_id=sent.message_id, refused=sent.refused
    )
    return None


def _send(ctx: StepContext, ref: ConnectionRef, config: Mapping[str, Json]) -> Sent:
    try:
        if isinstance(ref.settings, SmtpSettings):
            return _by_smtp(ctx, ref, ref.settings, config)
        return _by_apprise(ctx, ref, config)
    except Refused as error:
        raise NotSent("refused", str(error)) from error
    except OrchestraError as error:
        raise NotSent("refused", f"{ref.name}: {error.message}") from error


def _by_smtp(ctx: StepContext, ref: ConnectionRef, settings: SmtpSettings, config: Mapping[str, Json]) -> Sent:
    from resources import smtp_client

    access = smtp_client.access_of(ref)
    if access.password:
        ctx.mask(access.password)
    data = mail.build(ctx, settings, config)
    to = list(dict.fromkeys(config["to"] + config["cc"]))
    refused = smtp_client.send(access, settings.sender, to, data, seconds=ctx.remaining(), stop=ctx.cancelled)
    for one in refused:
        ctx.log(f"warning: {ref.name} refused {one.to}: {one.said}")
    return Sent(mail.message_id(ctx.key, settings.sender), tuple({"to": r.to, "said": r.said} for r in refused))


def _by_apprise(ctx: StepContext, ref: ConnectionRef, config: Mapping[str, Json]) -> Sent:
    from resources import apprise_client

    assert isinstance(ref.settings, AppriseSettings)  # noqa: S101  `prepare` has let in no other kind
    address = apprise_client.address_of(ref)
    values = list(apprise_client.secrets_in(address))
    for value in values:
        ctx.mask(value)
    try:
        apprise_client.send(
            address, ref.settings, config["title"], config["text"] or config["title"], key=ctx.key,
            seconds=ctx.remaining(), stop=ctx.cancelled,
        )  # fmt: skip
    except NotSent as error:
        from resources.masking import Masker

        said = Masker(values).text(f"{ref.name}: {error.message}")  # the record of it is read beside the run, too
        raise NotSent(error.cls, said, again=error.again, unknown=error.unknown) from error
    return Sent()
