"""route: a decision table. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.steps.fields import Config, Plain, StepId, Templated, TJson

MAX_RULES = 100


class Branch(Config):
    """Taken when no rule holds."""

    name: Annotated[Plain, Field(min_length=1, max_length=60)] | None = Field(
        default=None, description="what people call it; else `rule 1`, or `default`"
    )
    to: list[StepId] = Field(default_factory=list, description="steps that run only where this is taken")
    value: TJson = Field(default=None, description="`value` of the output")


class Rule(Branch):
    """Taken when its condition is the first that holds."""

    if_: Annotated[bool, Templated()] = Field(alias="if", description="an expression that gives true or false")


class RouteConfig(Config):
    """Takes the first rule that holds, else the default. Steps named by rules that were not taken are skipped."""

    rules: Annotated[list[Rule], Field(min_length=1, max_length=MAX_RULES)] = Field(
        description="looked at in this order; the first whose `if` holds is taken"
    )
    default: Branch = Field(description="taken when no rule holds; {} takes nothing further")
