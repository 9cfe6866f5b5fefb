"""sleep: go on after a while. Short form: `sleep: 10m`. Pure."""

from __future__ import annotations

from pydantic import Field

from flows.steps.fields import Config, TDuration


class SleepConfig(Config):
    """Waits for a duration; holds no worker."""

    duration: TDuration = Field(description="how long: 30s, 10m, 2d, or an expression that gives such a value")
