"""function: a small program in the sandbox. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from flows.steps.fields import Config, Duration, Json, Plain, Size, TJson

MiB = 1024 * 1024
FunctionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class Limits(Config):
    """What one call may use."""

    time: Annotated[Duration, Field(gt=0, le=30)] = Field(default=5.0, description="computing time, 30s at most")
    memory: Annotated[Size, Field(ge=MiB, le=256 * MiB)] = Field(default=64 * MiB, description="memory, 256MiB at most")


class FunctionConfig(Config):
    """Python code without I/O: `code`, or `use` with one of the flow's functions. The value of the last expression is
    the output."""

    code: Annotated[Plain, Field(min_length=1, max_length=64 * 1024)] | None = Field(
        default=None, description="the program; it reads its input by name. Expressions belong into `input`"
    )
    use: FunctionName | None = Field(default=None, description="one of the flow's `functions`, in place of code")
    input: dict[Identifier, TJson] = Field(default_factory=dict, description="variables of the program")
    takes: dict[str, Json] | None = Field(default=None, description="JSON Schema of the input; class `input` else")
    gives: dict[str, Json] | None = Field(default=None, description="JSON Schema of the value; class `contract` else")
    limits: Limits = Field(default_factory=Limits, description="time and memory of one call")

    @model_validator(mode="after")
    def _something_to_run(self) -> FunctionConfig:
        if self.code is None and self.use is None:
            raise ValueError("give exactly one of code and use")
        return self


class FunctionModel(Config):
    """A function that steps of the flow use by its name."""

    code: Annotated[Plain, Field(min_length=1, max_length=64 * 1024)] = Field(
        description="the program; it reads its input by name"
    )
    input: dict[str, Json] | None = Field(default=None, description="JSON Schema of the input: an object")
    output: dict[str, Json] | None = Field(default=None, description="JSON Schema of the value")
    limits: Limits = Field(default_factory=Limits, description="time and memory of one call")
    description: Annotated[Plain, Field(max_length=1000)] = Field(default="", description="what it is for")


def expanded(config: Mapping[str, Json], functions: Mapping[str, FunctionModel]) -> dict[str, Json]:
    """A step's config as written, with the function it uses put in: from then on it stands alone."""
    function = functions.get(str(config.get("use")))
    if function is None:
        return dict(config)
    own: dict[str, Json] = {"code": function.code, "limits": function.limits.model_dump(mode="json")}
    schemas = {"takes": function.input, "gives": function.output}
    return {**own, **{k: v for k, v in schemas.items() if v is not None}, **config}
