"""approval: people decide. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flows.steps.fields import Config, Json, StepId, TDuration, Templated, TText

DAY = 86400.0


class Reviewers(Config):
    """Who may decide. Nobody named: everyone with the reviewer role on the flow's folder."""

    users: list[TText] = Field(default_factory=list, description="user names")
    groups: list[TText] = Field(default_factory=list, description="group names")
    quorum: Annotated[int, Field(ge=1, le=50), Templated()] = Field(
        default=1, description="how many people must approve"
    )
    exclude: list[Literal["starter", "author"]] = Field(
        default_factory=list, description="who may not decide although named"
    )


class ApprovalConfig(Config):
    """Stops until people have decided. The decision binds to what the protected steps will do."""

    title: Annotated[str, Field(min_length=1, max_length=300), Templated()] = Field(description="one line")
    summary: Annotated[str, Field(max_length=20_000), Templated()] = Field(
        default="", description="Markdown for reviewers"
    )
    protects: list[StepId] = Field(default_factory=list, description="steps that run only when this is approved")
    reviewers: Reviewers = Field(default_factory=Reviewers, description="who may decide, and how many must")
    form: dict[str, Json] | None = Field(default=None, description="JSON Schema of a flat form that reviewers fill in")
    expires: TDuration = Field(default=7 * DAY, description="how long the request stays open")
    on_expiry: Literal["reject", "fail"] = Field(default="reject", description="what happens when it expires")
    on_reject: Literal["stop", "fail", "continue"] = Field(
        default="stop", description="stop: cancel the run; fail: fail it; continue: skip the protected steps"
    )
