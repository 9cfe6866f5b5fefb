"""wait: until somebody calls back, or until a moment."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar, cast

from pydantic import BaseModel

from flows.steps.base import Action, Family, Json, Outcome, StepContext, Wait
from flows.steps.wait.config import WaitConfig


class WaitFamily(Family):
    name: ClassVar[str] = "wait"
    Config: ClassVar[type[BaseModel]] = WaitConfig
    title: ClassVar[str] = "Wait"
    summary: ClassVar[str] = "Waits for a call to an address of its own, or until a moment, without holding a worker."
    icon: ClassVar[str] = "wait"
    has_effect: ClassVar[bool] = False

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(WaitConfig, config)
        if config.callback is not None:
            return {"callback": config.callback.model_dump(mode="json", by_alias=True, exclude_none=True)}
        return {"until": config.until_epoch}

    def describe(self, action: Action) -> str:
        if "callback" in action.config:
            return f"Waits up to {action.config['callback']['timeout']:g} seconds for a callback"
        moment = dt.datetime.fromtimestamp(action.config["until"], dt.UTC)
        return f"Waits until {moment:%Y-%m-%d %H:%M:%S} UTC"

    def execute(self, ctx: StepContext) -> Outcome:
        config = ctx.action.config
        if "callback" in config:
            return Wait(
                kind="callback",
                timeout=config["callback"]["timeout"],
                spec={"url": ctx.callback_url(ctx.step)},
            )
        return Wait(kind="timer", until=config["until"])
