"""call: run another flow and wait for its end. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flows.steps.fields import Config, Json, Plain, TDuration, Templated

#: runs below one another at most; the one a person starts counts as none
MAX_DEPTH = 10


class CallConfig(Config):
    """Runs another flow; its output is the step's."""

    flow: Annotated[Plain, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = Field(
        description="the slug of the flow, in this flow's folder or below it"
    )
    release: Annotated[Plain, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = Field(
        default=None, description="a version; else the release that is live when the step's action is worked out"
    )
    input: Annotated[dict[str, Json], Templated()] = Field(default_factory=dict, description="the child's input")
    on_parent_close: Literal["cancel", "abandon"] = Field(
        default="cancel", description="when this run ends or is cancelled before the child: cancel it, or let it be"
    )
    timeout: TDuration | None = Field(
        default=None, description="after this the step fails with class `expired`; else the run's deadline bounds it"
    )
