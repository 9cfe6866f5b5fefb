"""A message as an e-mail: plain text and HTML, with attachments, under an id made of the step's key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from flows.steps.base import Json, Refused, StepContext
from flows.steps.notify.channels import Way
from resources.kinds.notify import SmtpSettings
from resources.markdown import html_of

MAX_ATTACHED = 10 * 1024 * 1024


def message_id(key: str, sender: str) -> str:
    """The same for every attempt, so that a repeat can be recognised."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def letter(
    settings: SmtpSettings, to: Sequence[str], cc: Sequence[str], title: str, known: str, now: float
) -> EmailMessage:
    """The headers. `known`: its Message-ID; `now`: epoch seconds."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(settings.sender_name, addr_spec=settings.sender)
    for header, addresses in (("To", to), ("Cc", cc)):
        if addresses:
            message[header] = tuple(Address(addr_spec=one) for one in addresses)
    message["Subject"] = title
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = known
    message["Auto-Submitted"] = "auto-generated"
    return message


def fill(message: EmailMessage, text: str, html: str) -> None:
    message.set_content(text, cte="quoted-printable")
    if html:
        message.add_alternative(html, subtype="html", cte="quoted-printable")


def build(ctx: StepContext, way: Way, settings: SmtpSettings) -> bytes:
    """The message as it goes over the wire. Raises Refused for attachments that are too large or cannot be read."""
    config = ctx.action.config
    known = message_id(way.key(ctx.key), settings.sender)
    message = letter(settings, way.to, way.cc, config["title"], known, ctx.now)
    fill(message, config["text"] or config["title"], html_of(config["text"]) if config["text"] else "")
    left = MAX_ATTACHED
    for resource in config["attachments"]:
        left = _attach(ctx, message, resource, left)
    return message.as_bytes()


def _attach(ctx: StepContext, message: EmailMessage, resource: Json, left: int) -> int:
    found = ctx.fetch(resource)
    with closing(found.file):
        data = found.file.read(left + 1)
    if len(data) > left:
        raise Refused(f"Attachments may have {MAX_ATTACHED} bytes together; send a link to the resource instead.")
    main, _, sub = found.content_type.partition(";")[0].strip().partition("/")
    if main in ("message", "multipart", "") or not sub:
        main, sub = "application", "octet-stream"
    name = "".join(c for c in found.name if c.isprintable())[:120] or "attachment"
    message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return left - len(data)
