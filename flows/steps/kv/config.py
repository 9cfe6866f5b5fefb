"""kv: small values that outlive a run. Pure."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from flows.steps.fields import Config, TDuration, Templated, TJson, TText

Key = Annotated[str, Field(min_length=1, max_length=500), Templated()]
Namespace = Annotated[str, Field(min_length=1, max_length=100), Templated()]
Count = Annotated[int, Field(ge=1, le=1000), Templated()]


class _Spaced(Config):
    namespace: Namespace | None = Field(
        default=None, description="shared with other flows under this name; else the flow's own"
    )


class _Keyed(_Spaced):
    key: Key = Field(description="the key")


class _Written(_Keyed):
    ttl: TDuration | None = Field(default=None, description="how long it lives: 10m, 30d; else for ever")


class Get(_Keyed):
    """Reads: the output is {"found", "value", "version"}."""


class Set(_Written):
    """Writes a JSON value: the output is {"version"}, which goes up with each write."""

    value: TJson = Field(description="any JSON value")


class CompareAndSet(_Written):
    """Writes if nobody has written since: the output is {"swapped", "version", "value"} as they are then."""

    value: TJson = Field(description="any JSON value")
    expect: Annotated[int, Field(ge=0), Templated()] = Field(
        description="the version it must have, from an earlier get; 0: there must be none"
    )


class Append(_Written):
    """Adds a value to the end of a list; a missing key counts as an empty one. The output is {"length", "version"}."""

    value: TJson = Field(description="any JSON value")
    most: Count = Field(default=1000, description="keep this many, the newest")


class Delete(_Keyed):
    """Removes the key if it is there: the output is {"deleted"}."""


class Increment(_Written):
    """Adds to a number and gives the sum; a missing key counts as 0. Its ttl counts from the first."""

    value: Annotated[int | float, Templated()] = Field(default=1, description="what to add")


class List(_Spaced):
    """Lists keys in order: the output is {"entries": [{"key", "value", "version"}], "next"}."""

    prefix: TText = Field(default="", description="what the keys begin with")
    after: TText = Field(default="", description="only keys after this one: the `next` of the page before")
    limit: Count = Field(default=100, description="how many at most")


OPERATIONS: Final = ("get", "set", "compare_and_set", "append", "increment", "delete", "list")


class KvConfig(Config):
    """Exactly one operation."""

    get: Get | None = Field(default=None, description="read a value")
    set: Set | None = Field(default=None, description="write a value")
    compare_and_set: CompareAndSet | None = Field(default=None, description="write a value nobody else has written")
    append: Append | None = Field(default=None, description="add to a list")
    increment: Increment | None = Field(default=None, description="add to a number")
    delete: Delete | None = Field(default=None, description="remove a value")
    list: List | None = Field(default=None, description="list keys by what they begin with")

    @model_validator(mode="after")
    def _one(self) -> KvConfig:
        if sum(getattr(self, name) is not None for name in OPERATIONS) != 1:
            raise ValueError(f"give exactly one of {', '.join(OPERATIONS[:-1])} and {OPERATIONS[-1]}")
        return self

    @property
    def operation(self) -> str:
        """Which of OPERATIONS it is."""
        return next(name for name in OPERATIONS if getattr(self, name) is not None)
