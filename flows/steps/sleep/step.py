"""sleep: a durable pause; no worker is held."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from flows.steps.base import Action, Family, Outcome, StepContext, Wait
from flows.steps.sleep.config import SleepConfig


class SleepFamily(Family):
    name: ClassVar[str] = "sleep"
    Config: ClassVar[type[BaseModel]] = SleepConfig
    title: ClassVar[str] = "Sleep"
    summary: ClassVar[str] = "Pauses the run for a time, without holding a worker."
    icon: ClassVar[str] = "sleep"
    has_effect: ClassVar[bool] = False

    def describe(self, action: Action) -> str:
        return f"Sleeps for {action.config['duration']:g} seconds"

    def execute(self, ctx: StepContext) -> Outcome:
        return Wait(kind="timer", timeout=ctx.action.config["duration"])
