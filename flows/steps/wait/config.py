"""wait: until somebody calls back, or until a moment. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field, model_validator

from flows.steps.fields import Config, Json, TDuration, Templated

DAY = 86400.0


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


class WaitConfig(Config):
    """Holds no worker. Give exactly one of callback and until."""

    callback: Callback | None = Field(default=None, description="wait for a call to `steps.<id>.url`")
    until: Annotated[str | int | float | None, Templated()] = Field(
        default=None, description="a moment: RFC 3339 with a zone, epoch seconds, or an expression that gives one"
    )

    @model_validator(mode="after")
    def _one(self) -> WaitConfig:
        if (self.callback is None) == (self.until is None):
            raise ValueError("give exactly one of callback and until")
        if self.until is not None and not (isinstance(self.until, str) and "${{" in self.until):
            parse_moment(self.until)
        return self

    @property
    def until_epoch(self) -> float | None:
        """The moment in epoch seconds, of a rendered config."""
        return None if self.until is None else parse_moment(self.until)
