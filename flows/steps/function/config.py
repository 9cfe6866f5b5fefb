"""function: a small program in the sandbox. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.steps.fields import Config, Duration, Plain, Size, TJson

MiB = 1024 * 1024
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class Limits(Config):
    """What one call may use."""

    time: Annotated[Duration, Field(gt=0, le=30)] = Field(5.0, description="computing time, 30s at most")
    memory: Annotated[Size, Field(ge=MiB, le=256 * MiB)] = Field(64 * MiB, description="memory, 256MiB at most")


class FunctionConfig(Config):
    """Python code without I/O. The value of the last expression is the output."""

    code: Annotated[Plain, Field(min_length=1, max_length=64 * 1024)] = Field(
        description="the program; it reads its input by name. Expressions belong into `input`"
    )
    input: dict[Identifier, TJson] = Field(default_factory=dict, description="variables of the program")
    limits: Limits = Field(default_factory=Limits, description="time and memory of one call")
