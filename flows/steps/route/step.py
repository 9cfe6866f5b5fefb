"""route: a decision table. The engine decides it when the step opens; `execute` says the same of a resolved one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from flows.definition import routing
from flows.steps.base import Action, Done, Family, Outcome, StepContext
from flows.steps.route.config import RouteConfig


class RouteFamily(Family):
    name: ClassVar[str] = routing.FAMILY
    Config: ClassVar[type[BaseModel]] = RouteConfig
    title: ClassVar[str] = "Route"
    summary: ClassVar[str] = "Chooses how to go on: the first rule that holds, else the default."
    icon: ClassVar[str] = "shapes"
    has_effect: ClassVar[bool] = False
    pure: ClassVar[bool] = True

    def describe(self, action: Action) -> str:
        return f"Chooses among {len(action.config['rules'])} rules and a default"

    def execute(self, ctx: StepContext) -> Outcome:
        config = ctx.action.config
        number = routing.choose(config, lambda condition: condition is True)
        value = routing.branches(config)[number].get("value")
        return Done({"rule": number, "name": routing.name_of(config, number), "value": value})
