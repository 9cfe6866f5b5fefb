"""The settings under `limits` of a connection. Pure. Times are seconds."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Per = Literal["second", "minute", "hour"]
OnOpen = Literal["queue", "fallback", "fail"]

SECONDS: Final[dict[Per, float]] = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
Whole = Annotated[int, Field(ge=1, le=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Rate(_Part):
    """`count` attempts a second, minute or hour; after a quiet time up to `burst` of them at once."""

    count: Annotated[int, Field(ge=1, le=1_000_000)]
    per: Per = "second"
    burst: Whole = 1

    @property
    def interval(self) -> float:
        """Seconds from one token to the next."""
        return SECONDS[self.per] / self.count


class BreakerRules(_Part):
    """Opens after `failures` failures within `window`, when they are at least the share `ratio` of what ended then.

    After `open_for` it is half-open: `half_open` probes go through, and all must succeed to close it.
    `on_open`: steps wait (queue), use their fallback at once or wait where they have none (fallback), or fail.
    """

    failures: Annotated[int, Field(ge=1, le=1_000)] = 5
    window: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    open_for: Annotated[float, Field(ge=0.1, le=86_400)] = 30.0
    half_open: Annotated[int, Field(ge=1, le=100)] = 1
    on_open: OnOpen = "queue"


class Adaptive(_Part):
    """Concurrency shrinks down to `min` on 429 and on answers slower than `latency`, and grows back.

    A 429 closes the tap for everybody, for as long as its Retry-After says.
    """

    min: Whole = 1
    latency: Annotated[float, Field(gt=0, le=3_600)] | None = None


class Limits(_Part):
    """All that holds back attempts of a connection; what is not given limits nothing."""

    concurrency: Whole | None = None
    rate: Rate | None = None
    breaker: BreakerRules | None = None
    adaptive: Adaptive | None = Field(default=None, validate_default=True)

    @field_validator("adaptive")
    @classmethod
    def _adapts_something(cls, adaptive: Adaptive | None, info: ValidationInfo) -> Adaptive | None:
        most = info.data.get("concurrency")
        if adaptive is None:
            return None
        if most is None:
            raise ValueError("Adapting needs a concurrency to adapt: say how many at a time at most.")
        if adaptive.min > most:
            raise ValueError("The least at a time is more than the most.")
        return adaptive


NO_LIMITS: Final = Limits()
