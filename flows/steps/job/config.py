"""job: work for a runner on another machine, which asks for it. Pure."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from flows.steps.fields import Config, Json, Plain, TDuration, Templated, TJson, TText

DAY: Final = 86400.0
#: seconds of a lease
MIN_LEASE: Final = 10.0
MAX_LEASE: Final = 3600.0
MAX_TIMEOUT: Final = 30 * DAY
#: what a runner says it has
LABEL: Final = r"^[a-z0-9][a-z0-9_.-]{0,39}$"
FILE: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"

Label = Annotated[Plain, Field(pattern=LABEL)]
EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
FileName = Annotated[str, Field(pattern=FILE)]


def _lease(seconds: float) -> float:
    if not MIN_LEASE <= seconds <= MAX_LEASE:
        raise ValueError("a lease is between 10s and 1h")
    return seconds


def _timeout(seconds: Json) -> Json:
    if isinstance(seconds, float) and not 1 <= seconds <= MAX_TIMEOUT:
        raise ValueError("the timeout of a job is between 1s and 30d")
    return seconds


def _no_own_names(env: dict[str, Json]) -> dict[str, Json]:
    for name in env:
        if name.startswith("ORCHESTRA_"):
            raise ValueError(f"{name} is not yours to set: names with ORCHESTRA_ are the runner's")
    return env


class JobConfig(Config):
    """Hands work to a runner that has all the labels; holds no worker meanwhile."""

    labels: Annotated[list[Label], Field(min_length=1, max_length=10)] = Field(
        description="only a runner that has all of them takes the job"
    )
    input: TJson = Field(default=None, description="what the runner's handler reads: any JSON, 256 KiB at most")
    command: Annotated[list[TText], Field(min_length=1, max_length=100), Templated()] | None = Field(
        default=None,
        description="program and arguments; else what the runner does with every job. Only runners that were "
        "started with --allow-commands run it",
    )
    env: Annotated[dict[EnvName, TText], Field(max_length=50), AfterValidator(_no_own_names)] = Field(
        default_factory=dict, description="variables for `command`; never secrets"
    )
    files: Annotated[dict[FileName, Json], Field(max_length=20)] = Field(
        default_factory=dict, description="resources that the runner gets as files of these names"
    )
    timeout: Annotated[TDuration, AfterValidator(_timeout)] = Field(
        default=DAY, description="in line and at work together; after this the step fails with class `expired`"
    )
    lease: Annotated[TDuration, AfterValidator(lambda v: _lease(v) if isinstance(v, float) else v)] = Field(
        default=60.0, description="a runner that says nothing for so long has lost the job to another one"
    )
    max_takeovers: Annotated[int, Field(ge=0, le=20)] = Field(
        default=3, description="how often another runner may take it over; then it failed with class `lost`"
    )
    schema_: dict[str, Json] | None = Field(
        default=None, alias="schema", description="JSON Schema of the runner's output; one that breaks it is refused"
    )
