"""kv: small values that outlive a run. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flows.steps.fields import Config, Json, Templated, TJson

Key = Annotated[str, Field(min_length=1, max_length=500), Templated()]
Namespace = Annotated[str, Field(min_length=1, max_length=100), Templated()]


class _Keyed(Config):
    key: Key = Field(description="the key")
    namespace: Namespace | None = Field(
        default=None, description="shared with other flows under this name; else the flow's own"
    )


class Get(_Keyed):
    """Reads: the output is {"found", "value"}."""


class Set(_Keyed):
    """Writes a JSON value."""

    value: TJson = Field(description="any JSON value")


class Delete(_Keyed):
    """Removes the key if it is there."""


class Increment(_Keyed):
    """Adds to a number and gives the sum; a missing key counts as 0."""

    value: Annotated[int | float, Templated()] = Field(default=1, description="what to add")


class KvConfig(Config):
    """Exactly one of get, set, delete and increment."""

    get: Get | None = Field(default=None, description="read a value")
    set: Set | None = Field(default=None, description="write a value")
    delete: Delete | None = Field(default=None, description="remove a value")
    increment: Increment | None = Field(default=None, description="add to a number")

    @model_validator(mode="after")
    def _one(self) -> KvConfig:
        if sum(v is not None for v in (self.get, self.set, self.delete, self.increment)) != 1:
            raise ValueError("give exactly one of get, set, delete and increment")
        return self

    @property
    def operation(self) -> tuple[Literal["get", "set", "delete", "increment"], str, str | None, Json]:
        """(what, key, namespace or None, value or None)."""
        if self.set is not None:
            return "set", self.set.key, self.set.namespace, self.set.value
        if self.increment is not None:
            return ("increment", self.increment.key, self.increment.namespace, self.increment.value)
        if self.get is not None:
            return "get", self.get.key, self.get.namespace, None
        return "delete", *((self.delete.key, self.delete.namespace) if self.delete else ("", None)), None
