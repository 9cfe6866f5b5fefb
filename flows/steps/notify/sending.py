"""One channel of one step: what is sent, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from flows.steps.base import Json, Refused, StepContext
from flows.steps.notify import mail
from flows.steps.notify.channels import Way
from resources import health
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.kinds.notify import AppriseSettings, SmtpSettings
from resources.limits import passing
from resources.not_sent import NotSent
from resources.notices import deliveries, digests
from resources.notices.deliveries import Sender
from resources.stop import Stop

#: error classes that a connection's health tells of
ITS_FAULT: Final = frozenset({"connect", "network", "timeout", "http_429", "http_5xx", "refused", "rate_limited"})


@dataclass(frozen=True, slots=True)
class Sent:
    message_id: str = ""
    refused: tuple[Json, ...] = ()


def sender_of(ctx: StepContext) -> Sender:
    return Sender(ctx.key, ctx.run_id, ctx.step, ctx.item)


def outside(ctx: StepContext, ways: Sequence[tuple[Way, ConnectionRef]]) -> list[NotSent]:
    """Send by every way that has not got it yet; what failed. Each has an equal share of the time that is left."""
    if ctx.action.config.get("digest"):
        return [error for way, ref in ways if (error := _wait(ctx, way, ref)) is not None]
    failed = []
    for number, (way, ref) in enumerate(ways):
        error = _deliver(ctx, way, ref, ctx.remaining() / (len(ways) - number))
        if error is not None:
            ctx.log(f"warning: {error.message}")
            failed.append(error)
        if ctx.action.connection is None:  # else the engine notes it
            health.note_use(ref.id, ctx.now, error.message if error is not None and error.cls in ITS_FAULT else "")
    return failed


def _wait(ctx: StepContext, way: Way, ref: ConnectionRef) -> NotSent | None:
    """The message waits for the end of its window; what kept it from that, or None."""
    config, digest = ctx.action.config, ctx.action.config["digest"]
    space = f"{ctx.flow}?test" if ctx.test else ctx.flow
    wanted = digests.Wanted(space, digest["key"], ref.name, ref.kind, way.to, way.cc, config["repeat_unknown"])
    count = len(way.recipients) if ref.kind == "smtp" else 1
    message = digests.Message(config["title"], config["text"], count)
    try:
        digests.join(
            sender_of(ctx), wanted, message, channel=way.name, within=digest["within"], most=digest["max"], now=ctx.now
        )
    except NotSent as error:
        return error
    return None


def _deliver(ctx: StepContext, way: Way, ref: ConnectionRef, seconds: float) -> NotSent | None:
    """Send this way unless that was done; the record says what became of it. What failed, or None."""
    sender, repeat = sender_of(ctx), ctx.action.config["repeat_unknown"]
    count = len(way.recipients) if ref.kind == "smtp" else 1
    before = deliveries.begin(sender, channel=way.name, kind=ref.kind, recipients=count, now=ctx.now, repeat=repeat)
    if before == "sent":
        return None
    if before == "unknown":
        said = f"{way.name}: an earlier attempt may have sent this, so it was not sent again."
        return NotSent("unknown_outcome", said, again=repeat, unknown=True)
    try:
        sent = _limited(ctx, way, ref, seconds)
    except NotSent as error:
        status = "unknown" if error.unknown else "failed"
        deliveries.end(sender, channel=way.name, status=status, now=ctx.now, error=error.message)
        return error
    deliveries.end(
        sender, channel=way.name, status="sent", now=ctx.now, message_id=sent.message_id, refused=sent.refused
    )
    return None


def _limited(ctx: StepContext, way: Way, ref: ConnectionRef, seconds: float) -> Sent:
    """Of a step with one connection the engine has asked already; of the others each asks here. Raises NotSent."""
    if ctx.action.connection is not None:
        return _send(ctx, way, ref, seconds)
    with passing.through(ref, ctx.now):
        return _send(ctx, way, ref, seconds)


def _send(ctx: StepContext, way: Way, ref: ConnectionRef, seconds: float) -> Sent:
    try:
        if isinstance(ref.settings, SmtpSettings):
            return _by_smtp(ctx, way, ref, ref.settings, seconds)
        return _by_apprise(ctx, way, ref, seconds)
    except Refused as error:
        raise NotSent("refused", str(error)) from error
    except OrchestraError as error:
        raise NotSent("refused", f"{ref.name}: {error.message}") from error


def _by_smtp(ctx: StepContext, way: Way, ref: ConnectionRef, settings: SmtpSettings, seconds: float) -> Sent:
    from resources import smtp_client

    access = smtp_client.access_of(ref)
    if access.password:
        ctx.mask(access.password)
    data = mail.build(ctx, way, settings)
    refused = smtp_client.send(
        access, settings.sender, way.recipients, data, seconds=seconds, stop=ctx.cancelled
    )  # fmt: skip
    for one in refused:
        ctx.log(f"warning: {way.name} refused {one.to}: {one.said}")
    message_id = mail.message_id(way.key(ctx.key), settings.sender)
    return Sent(message_id, tuple({"to": r.to, "said": r.said} for r in refused))


def _by_apprise(ctx: StepContext, way: Way, ref: ConnectionRef, seconds: float) -> Sent:
    assert isinstance(ref.settings, AppriseSettings)  # noqa: S101  `prepare` has let in no other kind
    title, text = ctx.action.config["title"], ctx.action.config["text"]
    key = way.key(ctx.key)
    by_apprise(ref, ref.settings, title, text or title, key=key, seconds=seconds, stop=ctx.cancelled, mask=ctx.mask)
    return Sent()


def by_apprise(
    ref: ConnectionRef, settings: AppriseSettings, title: str, text: str, *, key: str, seconds: float, stop: Stop,
    mask: Callable[[str], None] = lambda value: None,
) -> None:  # fmt: skip
    """One message; `mask` hears of every secret in its address. Raises NotSent, masked, and OrchestraError."""
    from resources import apprise_client

    address = apprise_client.address_of(ref)
    values = list(apprise_client.secrets_in(address))
    for value in values:
        mask(value)
    try:
        apprise_client.send(address, settings, title, text, key=key, seconds=seconds, stop=stop)
    except NotSent as error:
        from resources.masking import Masker

        said = Masker(values).text(f"{ref.name}: {error.message}")  # the record of it is read beside the run, too
        raise NotSent(error.cls, said, again=error.again, unknown=error.unknown) from error
