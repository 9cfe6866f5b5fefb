"""notify: a message to people, in the product, by e-mail, or by a chat or push service. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from flows.steps.fields import Config, Duration, Name, Templated, TJson

MAX_RECIPIENTS = 1000
MAX_TITLE = 300
MAX_TEXT = 100_000
MAX_ATTACHMENTS = 10
MAX_CHANNELS = 10


#: what may stand in an envelope and in a header as it is: no name, no quotes, no blanks, ASCII
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def check_address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text[:80]!a} is not one e-mail address such as ana@example.com")
    return text


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a title is one line, without control characters")
    return text


Address = Annotated[str, Field(max_length=320), AfterValidator(check_address), Templated()]
Addresses = Annotated[list[Address], Field(max_length=MAX_RECIPIENTS), Templated()]
Names = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=150), Templated()]],
    Field(max_length=MAX_RECIPIENTS),
    Templated(),
]


class People(Config):
    """People of this product, by their names and by their groups."""

    users: Names = Field(default_factory=list, description="names of users")
    groups: Names = Field(default_factory=list, description="names of groups; all who are in them now")

    @model_validator(mode="after")
    def _somebody(self) -> People:
        if not self.users and not self.groups:
            raise ValueError("name users, groups, or both")
        return self


class Channel(Config):
    """One way to the outside."""

    connection: Name = Field(description="name of an smtp or apprise connection")
    to: Addresses = Field(default_factory=list, description="as `to` beside `connection`")
    cc: Addresses = Field(default_factory=list, description="as `cc` beside `connection`")


class Digest(Config):
    """Messages with the same key, of one flow, by the same connection and to the same addresses, go out as one."""

    key: Annotated[str, Field(min_length=1, max_length=200), Templated()] = Field(
        description="what belongs together, such as ${{ input.service }}"
    )
    within: Annotated[Duration, Field(ge=1, le=86_400)] = Field(
        default=300.0, description="how long the first of them waits for others, 1s to 1d"
    )
    max: int = Field(default=50, ge=1, le=500, description="how many are listed; the others are counted")


class NotifyConfig(Config):
    """`people` in the product, `connection` or `channels` outside of it, or both."""

    connection: Name | None = Field(default=None, description="name of an smtp or apprise connection")
    people: People | None = Field(default=None, description="who finds the message in the product")
    to: Addresses = Field(
        default_factory=list, description=f"smtp: addresses; with `cc` at most {MAX_RECIPIENTS}, each seen by all"
    )
    cc: Addresses = Field(default_factory=list, description="smtp: addresses of those who get a copy")
    channels: Annotated[list[Channel], Field(max_length=MAX_CHANNELS)] = Field(
        default_factory=list, description="instead of `connection`: several, each sent and recorded by itself"
    )
    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE), AfterValidator(_one_line), Templated()] = Field(
        description="one line: the subject of an e-mail, the heading elsewhere"
    )
    text: Annotated[str, Field(max_length=MAX_TEXT), Templated()] = Field(
        default="", description="Markdown; HTML in it is shown as it is written, images are left out"
    )
    attachments: Annotated[list[TJson], Field(max_length=MAX_ATTACHMENTS), Templated()] = Field(
        default_factory=list, description="smtp: resources, 10 MiB together at most"
    )
    digest: Digest | None = Field(
        default=None, description="what goes outside waits, and a burst of messages goes out as one; see language.md"
    )
    must: bool = Field(default=False, description="a channel that failed fails the step; else its output says so")
    repeat_unknown: bool = Field(
        default=False, description="send again what may have gone out before; else nothing is sent twice"
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> NotifyConfig:
        outside = self.connection is not None or bool(self.channels)
        if self.channels and (self.connection is not None or self.to or self.cc):
            raise ValueError("give `connection` with to and cc, or `channels`, each with its own")
        if not outside and self.people is None:
            raise ValueError("say who is told: `people`, a `connection`, or both")
        if not outside and (self.to or self.cc or self.attachments):
            raise ValueError("to, cc and attachments go with an smtp `connection`")
        if not outside and self.digest is not None:
            raise ValueError("a digest goes with a `connection`; in the product each message stands by itself")
        if self.digest is not None and self.attachments:
            raise ValueError("a digest has no attachments; put a link to the resource into the text")
        if self.digest is not None and self.must:
            raise ValueError("the step ends before its digest goes out, so `must` cannot be kept; leave one out")
        if not outside and self.repeat_unknown:
            raise ValueError("repeat_unknown goes with a `connection`; in the product nothing comes twice")
        return self
