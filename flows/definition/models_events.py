"""The trigger that a named event fires."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.steps.fields import Config, Plain, Templated, TJson
from flows.steps.wait.config import EVENT_NAME


class EventTrigger(Config):
    """POST /api/v1/events with this name, for the flow's folder or one above it, starts the flow."""

    name: Annotated[Plain, Field(pattern=EVENT_NAME)] = Field(description="what the sender calls the event")
    if_: Annotated[bool | str, Field(description="true, false, or one expression that gives such a value")] = Field(
        default=True, alias="if", description="which events start a run"
    )
    dedupe: Annotated[str, Templated()] | None = Field(
        default=None, description="an id; a repeated one starts nothing; else the event's own id"
    )
    input: dict[str, TJson] | None = Field(default=None, description="the run's input; else the event's body")

    @property
    def address(self) -> str:
        return self.name
