"""wait: until somebody calls back, an event comes, a moment, or the first of several. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field, model_validator

from flows.steps.fields import Config, Json, Name, TDuration, Templated

DAY = 86400.0
#: seconds that an event may be kept
MAX_KEEP = 30 * DAY
#: of an event: what a sender may call it
EVENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,99}$"


def parse_moment(value: str | int | float) -> float:
    """Epoch seconds of an RFC 3339 text with a zone, or of a number of epoch seconds. Raises ValueError."""
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError("expected a time such as 2026-05-01T09:00:00+02:00, or epoch seconds") from None
        if moment.tzinfo is None:
            raise ValueError("the time needs a zone: end it with Z or +02:00")
        return moment.timestamp()
    if not 0 <= value < 1e11:
        raise ValueError("epoch seconds are between 0 and 1e11")
    return float(value)


class Callback(Config):
    """Answered by POST to the wait's own address, `steps.<id>.url`."""

    timeout: TDuration = Field(default=DAY, description="after this the step fails with class `expired`")
    schema_: dict[str, Json] | None = Field(
        default=None, alias="schema", description="JSON Schema of the body; a call that breaks it is answered 422"
    )
    secret: Name | None = Field(
        default=None, description="name of a secret: calls must be signed with it (Standard Webhooks), or get 401"
    )


class Event(Config):
    """Answered by an event of that name, POST /api/v1/events; an event counts once for each run."""

    name: Annotated[str, Field(pattern=EVENT_NAME), Templated()] = Field(
        description="what the sender calls the event; may hold an expression, so that few runs wait for one name"
    )
    match: str | None = Field(
        default=None, description="an expression over `event.body` and what the run knows; without it any event fits"
    )
    timeout: TDuration = Field(default=DAY, description="after this the step fails with class `expired`")
    schema_: dict[str, Json] | None = Field(
        default=None, alias="schema", description="JSON Schema of the body; an event that breaks it is not taken"
    )
    keep: TDuration = Field(
        default=DAY, description="how old an event may be that came before the wait opened; 30 days at most"
    )

    @model_validator(mode="after")
    def _bounds(self) -> Event:
        keep: Json = self.keep
        if isinstance(keep, str):  # an expression, before it is rendered
            return self
        if not 0 <= keep <= MAX_KEEP:
            raise ValueError("`keep` is at most 30 days")
        if keep > DAY and "${{" in self.name:
            raise ValueError("a `keep` of more than a day needs a name without an expression")
        return self


class Option(Config):
    """One of the things that `first` waits for. Give exactly one of callback, event and until."""

    callback: Callback | None = Field(default=None, description="a call to `steps.<id>.url`")
    event: Event | None = Field(default=None, description="an event of this name")
    until: Annotated[str | int | float | None, Templated()] = Field(default=None, description="a moment")

    @model_validator(mode="after")
    def _one(self) -> Option:
        _exactly_one(callback=self.callback, event=self.event, until=self.until)
        _check_moment(self.until)
        said = self.callback or self.event
        if said is not None and "timeout" in said.model_fields_set:
            raise ValueError("`timeout` stands beside `first`, once for all of them")
        return self


class WaitConfig(Config):
    """Holds no worker. Give exactly one of callback, event, until and first."""

    callback: Callback | None = Field(default=None, description="wait for a call to `steps.<id>.url`")
    event: Event | None = Field(default=None, description="wait for a named event")
    until: Annotated[str | int | float | None, Templated()] = Field(
        default=None, description="a moment: RFC 3339 with a zone, epoch seconds, or an expression that gives one"
    )
    first: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")], Option], Field(min_length=2, max_length=8)
        ]
        | None
    ) = Field(default=None, description="wait for whichever comes first; the output is {which, value}")
    timeout: TDuration | None = Field(
        default=None, description="beside first: after this the step fails with class `expired`; else a day"
    )

    @model_validator(mode="after")
    def _one(self) -> WaitConfig:
        _exactly_one(callback=self.callback, event=self.event, until=self.until, first=self.first)
        _check_moment(self.until)
        if self.timeout is not None and self.first is None:
            raise ValueError("`timeout` here goes with `first`; write it inside callback or event")
        options = list((self.first or {}).values())
        for kind in ("callback", "until"):
            if sum(getattr(o, kind) is not None for o in options) > 1:
                raise ValueError(f"`first` has at most one {kind}: of two, say which one it is")
        return self

    @property
    def until_epoch(self) -> float | None:
        """The moment in epoch seconds, of a rendered config."""
        return None if self.until is None else parse_moment(self.until)


def _exactly_one(**given: Json) -> None:
    if sum(value is not None for value in given.values()) != 1:
        *names, last = given
        raise ValueError(f"give exactly one of {', '.join(names)} and {last}")


def _check_moment(until: str | int | float | None) -> None:
    if until is not None and not (isinstance(until, str) and "${{" in until):
        parse_moment(until)
